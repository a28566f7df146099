package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/gvisor-exec/gvisor-exec/bundle"
)

func (inv *invocation) specCommand() *cli.Command {
	dir, rootless := "", false
	return &cli.Command{
		Name: "spec", Usage: "write a config.json to start from",
		Flags: []cli.Flag{
			aliased("b", "bundle", "into `DIR` (default: the working directory)", str(&dir)),
			boolean("rootless", "for a container of the calling user", &rootless),
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			return writeTemplate(filepath.Join(dir, bundle.ConfigName), rootless)
		},
	}
}

func writeTemplate(path string, rootless bool) (err error) {
	data, err := json.MarshalIndent(bundle.Template(rootless, uint32(os.Geteuid()), uint32(os.Getegid())), "", "\t")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("cannot write a spec: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
