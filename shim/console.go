package shim

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// sendConsole sends a terminal to the Unix socket at path, as runc does.
func sendConsole(path string, master *os.File, name string) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return fmt.Errorf("cannot send the terminal: %w", err)
	}
	defer conn.Close()
	_, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte(name), unix.UnixRights(int(master.Fd())), nil)
	if err != nil {
		return fmt.Errorf("cannot send the terminal to %s: %w", path, err)
	}
	return nil
}

// console is a socket of ours that runsc sends a terminal to.
type console struct {
	listener *net.UnixListener
	dir      string
}

func listenConsole() (*console, error) {
	dir, err := os.MkdirTemp("", name+"-console-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a console socket: %w", err)
	}
	c := &console{dir: dir}
	c.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: c.path(), Net: "unix"})
	if err != nil {
		os.Remove(dir)
		return nil, fmt.Errorf("cannot make a console socket: %w", err)
	}
	return c, nil
}

func (c *console) path() string { return filepath.Join(c.dir, "socket") }

func (c *console) close() {
	c.listener.Close()
	os.Remove(c.dir)
}

// receive returns the terminal that was sent.
func (c *console) receive() (fd int, err error) {
	conn, err := c.listener.AcceptUnix()
	if err != nil {
		return -1, fmt.Errorf("cannot receive the terminal: %w", err)
	}
	defer conn.Close()
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return -1, fmt.Errorf("cannot receive the terminal: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) == 0 {
		return -1, errors.New("cannot receive the terminal: nothing came with the message")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1, errors.New("cannot receive the terminal: nothing came with the message")
	}
	unix.CloseOnExec(fds[0])
	return fds[0], nil
}

// catchSignals catches the signals that are for the container's process.
func catchSignals() (<-chan os.Signal, func()) {
	signals := make(chan os.Signal, 64)
	for _, s := range forwarded {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	return signals, func() { signal.Stop(signals) }
}
