package register

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// quote writes s as JSON does, which TOML reads just as well: its basic strings
// know the same escapes. Neither can hold a path that is not UTF-8.
func quote(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("cannot write %q: it is not UTF-8", s)
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return "", err
	}
	// JSON may leave DEL as it is, TOML may not.
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\x7f", `\u007f`), nil
}
