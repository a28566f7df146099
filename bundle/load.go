package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ConfigName is the file in a bundle that says what is to run.
const ConfigName = "config.json"

// Load reads config.json from the bundle dir.
func Load(dir string) (*specs.Spec, error) {
	data, err := os.ReadFile(filepath.Join(dir, ConfigName))
	if errors.Is(err, fs.ErrNotExist) {
		// runc's words, on which callers may depend.
		return nil, fmt.Errorf("JSON specification file %s not found", ConfigName)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the bundle: %w", err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, fmt.Errorf("cannot read the bundle: %s: %w", ConfigName, err)
	}
	return &spec, nil
}
