package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"
)

func (inv *invocation) updateCommand() *cli.Command {
	file := ""
	r := &specs.LinuxResources{}
	return &cli.Command{
		Name: "update", Usage: "change the limits of a container", ArgsUsage: "ID",
		Flags: append(limitFlags(r), aliased("r", "resources", "take the limits from the JSON in `FILE`, or - for standard input, and nothing else", str(&file))),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1); err != nil {
				return err
			}
			container, err := inv.container(c)
			if err != nil {
				return err
			}
			if file != "" {
				if r, err = readResources(file); err != nil {
					return err
				}
			}
			return container.Update(r)
		},
	}
}

// limitFlags are runc's; those for a realtime scheduler, and for Intel's RDT, are
// not there: runsc applies neither.
func limitFlags(r *specs.LinuxResources) []cli.Flag {
	cpu := func() *specs.LinuxCPU {
		if r.CPU == nil {
			r.CPU = &specs.LinuxCPU{}
		}
		return r.CPU
	}
	memory := func() *specs.LinuxMemory {
		if r.Memory == nil {
			r.Memory = &specs.LinuxMemory{}
		}
		return r.Memory
	}
	ignored := "" // limits that kernels do not have any more, and runc ignores
	return []cli.Flag{
		value("blkio-weight", "relative weight `N` for block devices, 10 to 1000", setter(func(s string) error {
			n, err := strconv.ParseUint(s, 10, 16)
			weight := uint16(n)
			r.BlockIO = &specs.LinuxBlockIO{Weight: &weight}
			return numberError(s, err)
		})),
		value("cpu-period", "period of the CPU limit in `MICROSECONDS`", unsigned(func(n uint64) { cpu().Period = &n })),
		value("cpu-quota", "CPU time in a period, in `MICROSECONDS`", signed(func(n int64) { cpu().Quota = &n })),
		value("cpu-burst", "unused CPU time that may be caught up on, in `MICROSECONDS`", unsigned(func(n uint64) { cpu().Burst = &n })),
		value("cpu-share", "relative weight `N` against other containers", unsigned(func(n uint64) { cpu().Shares = &n })),
		value("cpu-idle", "1 for a container that gets what nobody else wants: `0|1`", signed(func(n int64) { cpu().Idle = &n })),
		value("cpuset-cpus", "CPUs that may be used, such as `0-2,4`", setter(func(s string) error { cpu().Cpus = s; return nil })),
		value("cpuset-mems", "memory nodes that may be used, such as `0,1`", setter(func(s string) error { cpu().Mems = s; return nil })),
		value("memory", "limit of memory, `SIZE` as in 512M", size(func(n int64) { memory().Limit = &n })),
		value("memory-reservation", "what is left to it when memory is short, `SIZE`", size(func(n int64) { memory().Reservation = &n })),
		value("memory-swap", "limit of memory and swap together, `SIZE`, -1 for none", size(func(n int64) { memory().Swap = &n })),
		value("pids-limit", "number `N` of host processes", signed(func(n int64) { r.Pids = &specs.LinuxPids{Limit: n} })),
		value("kernel-memory", "accepted as runc does: `SIZE`", str(&ignored)),
		value("kernel-memory-tcp", "accepted as runc does: `SIZE`", str(&ignored)),
	}
}

func numberError(s string, err error) error {
	if err != nil {
		return fmt.Errorf("%q is not a number that fits", s)
	}
	return nil
}

func unsigned(set func(uint64)) setter {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 64)
		set(n)
		return numberError(s, err)
	}
}

func signed(set func(int64)) setter {
	return func(s string) error {
		n, err := strconv.ParseInt(s, 10, 64)
		set(n)
		return numberError(s, err)
	}
}

// size is a number of bytes, with a suffix that means what runc takes it for.
func size(set func(int64)) setter {
	return func(s string) error {
		digits := strings.TrimRight(strings.ToLower(s), "ib")
		shift := 0
		if i := strings.IndexAny(digits, "kmgt"); i >= 0 && i == len(digits)-1 {
			shift = 10 * (1 + strings.IndexByte("kmgt", digits[i]))
			digits = digits[:i]
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err == nil && n<<shift>>shift != n {
			err = strconv.ErrRange
		}
		set(n << shift)
		return numberError(s, err)
	}
}

// readResources reads limits from a file, or from standard input.
func readResources(file string) (*specs.LinuxResources, error) {
	read := func() ([]byte, error) { return os.ReadFile(file) }
	if file == "-" {
		read = func() ([]byte, error) { return io.ReadAll(os.Stdin) }
	}
	data, err := read()
	if err != nil {
		return nil, fmt.Errorf("cannot read the limits: %w", err)
	}
	var r specs.LinuxResources
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("cannot read the limits from %s: %w", file, err)
	}
	return &r, nil
}
