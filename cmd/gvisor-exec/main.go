// Gvisor-exec runs commands that nobody here wrote in a fresh gVisor sandbox.
//
// Start reading at newApp, then exec.go for the verb that everything is about.
package main

import (
	"os"

	"github.com/gvisor-exec/gvisor-exec/internal/probe"
	"github.com/gvisor-exec/gvisor-exec/shim"
)

func main() {
	// What we start of ourselves is told apart by argv[0].
	switch os.Args[0] {
	case shim.KeeperName:
		shim.Keep()
		return
	case shim.StageName:
		os.Exit(shim.Stage())
	case shim.HookName:
		os.Exit(shim.Hook(os.Args))
	case shim.WaiterName:
		os.Exit(shim.Waiter(os.Args))
	case shim.RelayName:
		os.Exit(shim.Relay(os.Args))
	case probe.ChildArg:
		return
	}
	os.Exit(run(os.Args))
}
