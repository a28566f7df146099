package bundle

import (
	"fmt"
	"slices"
	"strings"
)

// capabilities are those that gVisor v0.0.0-20260905035102 knows, by the
// names of capabilities(7).
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ",
}

// Capabilities is a set of capability names. It implements flag.Value: each
// Set adds one.
type Capabilities []string

func (c *Capabilities) String() string { return strings.Join(*c, " ") }

// Set adds a capability, with or without CAP_ and in any case, or ALL.
func (c *Capabilities) Set(s string) error {
	name := strings.ToUpper(s)
	if name == "ALL" {
		*c = slices.Clone(capabilities)
		return nil
	}
	if !strings.HasPrefix(name, "CAP_") {
		name = "CAP_" + name
	}
	if !slices.Contains(capabilities, name) {
		return fmt.Errorf("%q is not a capability: ALL, or a name from capabilities(7) such as CHOWN", s)
	}
	if !slices.Contains(*c, name) {
		*c = append(*c, name)
	}
	return nil
}
