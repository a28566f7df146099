package register

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// A JSON file of the user's is edited as text, so that everything else in it
// stays: the order of the keys, the formatting, and numbers of any precision.

// object is a JSON object in a text that is known to be valid.
type object struct {
	text        []byte
	open, close int // of its braces
	members     []member
}

type member struct {
	key string
	// start is that of the key, value and end are those of the value.
	start, value, end int
}

// parseObject finds the members of the JSON object that text is.
func parseObject(text []byte) (*object, error) {
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, describeJSON(text, err)
	}
	if whole == nil { // it is null
		return nil, errors.New("it is not a JSON object")
	}
	return objectAt(text, skipSpace(text, 0)), nil
}

// describeJSON says in which line the error is.
func describeJSON(text []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		line := 1 + bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n"))
		return fmt.Errorf("it is not valid JSON: line %d: %w", line, err)
	case errors.As(err, &kind):
		return errors.New("it is not a JSON object")
	}
	return err
}

// objectAt finds the members of the object that begins at i.
func objectAt(text []byte, i int) *object {
	o := &object{text: text, open: i}
	for i = skipSpace(text, i+1); text[i] != '}'; i = skipSpace(text, i) {
		if text[i] == ',' {
			i = skipSpace(text, i+1)
		}
		m := member{start: i}
		i = skipValue(text, i)
		json.Unmarshal(text[m.start:i], &m.key) // valid, as the whole is
		i = skipSpace(text, i)                  // to the colon
		m.value = skipSpace(text, i+1)
		m.end = skipValue(text, m.value)
		o.members = append(o.members, m)
		i = m.end
	}
	o.close = i
	return o
}

func skipSpace(text []byte, i int) int {
	for i < len(text) && strings.IndexByte(" \t\r\n", text[i]) >= 0 {
		i++
	}
	return i
}

// skipValue returns the end of the value that begins at i.
func skipValue(text []byte, i int) int {
	depth := 0
	for ; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
			if depth < 0 {
				return i
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// find returns the member of that name, or nil. Of one that is there twice
// nobody can say which counts.
func (o *object) find(key string) (*member, error) {
	var found *member
	for i, m := range o.members {
		if m.key != key {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("it has %q twice", key)
		}
		found = &o.members[i]
	}
	return found, nil
}

func (o *object) valueOf(m *member) []byte { return o.text[m.value:m.end] }

// child is the object that is the value of m; nil if that is something else.
func (o *object) child(m *member) *object {
	if o.text[m.value] != '{' {
		return nil
	}
	return objectAt(o.text, m.value)
}

// indent is the white space before the members, with the newline before it;
// empty: they are on one line. An object without members has none of its own.
func (o *object) indent() string {
	if len(o.members) == 0 {
		return ""
	}
	return newlineAt(o.text[o.open+1 : o.members[0].start])
}

// newlineAt is the last newline in white space, and what follows it.
func newlineAt(space []byte) string {
	i := bytes.LastIndexByte(space, '\n')
	if i < 0 {
		return ""
	}
	if i > 0 && space[i-1] == '\r' {
		i--
	}
	return string(space[i:])
}

// replace returns the text with another value of m.
func (o *object) replace(m *member, value string) []byte {
	return splice(o.text, m.value, m.end, value)
}

// insert returns the text with a member more, the last. value is what render
// makes of it; outer and step are the indents to use where the object has none of its own.
func (o *object) insert(key string, value func(indent string) string, outer, step string) []byte {
	indent := o.indent()
	if len(o.members) > 0 {
		sep := ","
		if indent == "" {
			sep = ", "
		}
		return splice(o.text, o.members[len(o.members)-1].end, o.members[len(o.members)-1].end,
			sep+indent+`"`+key+`": `+value(indent))
	}
	if outer == "" { // everything is on one line
		return splice(o.text, o.open+1, o.close, `"`+key+`": `+value(""))
	}
	return splice(o.text, o.open+1, o.close, outer+step+`"`+key+`": `+value(outer+step)+outer)
}

// remove returns the text without m.
func (o *object) remove(m *member) []byte {
	i := 0
	for o.members[i].start != m.start {
		i++
	}
	switch {
	case len(o.members) == 1:
		return splice(o.text, o.open+1, o.close, "")
	case i == 0:
		return splice(o.text, m.start, o.members[1].start, "")
	}
	return splice(o.text, o.members[i-1].end, m.end, "")
}

func splice(text []byte, from, to int, middle string) []byte {
	return []byte(string(text[:from]) + middle + string(text[to:]))
}
