package userns

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Map makes Size ids from Outside on the ids from Inside on.
type Map struct{ Inside, Outside, Size int }

// idMaps are the mappings that the setuid helpers of the shadow suite are to
// write.
type idMaps struct{ uids, gids []Map }

// maps returns the mappings that need helpers; nil: there is but the caller's own
// id, as 0, which he may map himself.
func (o *Options) maps() *idMaps {
	if len(o.UIDs) > 0 || len(o.GIDs) > 0 {
		if ownOnly(o.UIDs, os.Geteuid()) && ownOnly(o.GIDs, os.Getegid()) {
			return nil
		}
		return &idMaps{o.UIDs, o.GIDs}
	}
	if o.Ranges.empty() {
		return nil
	}
	r := o.Ranges
	return &idMaps{
		[]Map{{0, os.Geteuid(), 1}, {1, r.UIDs.First, r.UIDs.Size}},
		[]Map{{0, os.Getegid(), 1}, {1, r.GIDs.First, r.GIDs.Size}},
	}
}

func ownOnly(maps []Map, own int) bool {
	return len(maps) == 1 && maps[0] == Map{Inside: 0, Outside: own, Size: 1}
}

// apply writes the mappings of the user namespace of pid.
func (m *idMaps) apply(pid int) error {
	for _, h := range []struct {
		helper string
		maps   []Map
	}{{"newuidmap", m.uids}, {"newgidmap", m.gids}} {
		helper, err := exec.LookPath(h.helper)
		if err != nil {
			return fmt.Errorf("cannot map subordinate ids: %s is not installed", h.helper)
		}
		args := []string{fmt.Sprint(pid)}
		for _, m := range h.maps {
			args = append(args, fmt.Sprint(m.Inside), fmt.Sprint(m.Outside), fmt.Sprint(m.Size))
		}
		if out, err := exec.Command(helper, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("cannot map subordinate ids: %s: %s", h.helper, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
