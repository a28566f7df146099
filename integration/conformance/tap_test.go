package main

import "testing"

func TestParseTAP(t *testing.T) {
	for _, test := range []struct{ out, failure, want string }{
		{"TAP version 13\n1..2\nok 1 - a\nok 2 - b\n", "", "clean"},
		{"ok 1 - a\n1..1\n", "", "clean"},
		{"1..2\nok 1 - a\nnot ok 2 - b\n", "", "1 of 2 fail"},
		{"1..2\nok 1 - a\nnot ok 2 - b\n", "status 1", "1 of 2 fail"},
		{"1..1\nok 1 # SKIP no apparmor\n", "", "clean (skipped)"},
		{"1..3\nok 1 - a\n", "", "ends after 1 of 3"},
		{"1..0\nok 1 - a\n", "", "clean"},
		{"TAP version 13\n1..0\n", "", "clean"},
		{"TAP version 13\n  ---\n  {\n    \"error\": \"hooks\"\n  }\n1..0\n", "", "1 of 1 fail"},
		{"TAP version 13\n", "status 1", "status 1"},
		{"ok 1 - a\n", "time limit", "time limit"},
		{"    not ok 1 - inner\nok 1 - outer\n", "", "clean"},
		{"1..1\nokay\nnot okay\n", "", "ends after 0 of 1"},
	} {
		r := parseTAP(test.out)
		r.failure = test.failure
		if got := r.String(); got != test.want {
			t.Errorf("%q, %q: got %q, want %q", test.out, test.failure, got, test.want)
		}
	}
}
