package register

import (
	"fmt"
	"io/fs"
)

// Place is the binary, or a directory on the way to it.
type Place struct {
	Path     string
	Mode     fs.FileMode
	UID, GID uint32
}

// Distrust says why a binary should not be registered where it lies; empty:
// nothing is wrong. places are the directories from / on, and the binary. uid is
// who will run it.
func Distrust(places []Place, uid uint32) string {
	for _, p := range places {
		world, group := p.Mode.Perm()&0o002 != 0, p.Mode.Perm()&0o020 != 0
		switch {
		case world && p.Mode.IsDir() && p.Mode&fs.ModeSticky != 0:
			return fmt.Sprintf("it lies in %s, where everybody may write and which may be emptied", p.Path)
		case world:
			return fmt.Sprintf("everybody may write to %s", p.Path)
		// A group of the same number is the owner's own, as Debian makes them.
		case group && p.GID != 0 && p.GID != p.UID:
			return fmt.Sprintf("the group %d may write to %s", p.GID, p.Path)
		case p.UID != 0 && p.UID != uid:
			return fmt.Sprintf("%s belongs to another user, %d", p.Path, p.UID)
		}
	}
	return ""
}
