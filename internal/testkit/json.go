// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// Raw is JSON text that is written as it stands, valid or not.
type Raw string

// Member is one name and value of an [Object]. A name that starts with a quote is
// written as it stands, so that it may hold escapes.
type Member struct {
	Name  string
	Value any
}

// Object is a JSON object that keeps the order of its members and may hold the
// same name twice, which a map cannot.
type Object []Member

// Set replaces the first member of that name, or appends one.
func (o *Object) Set(name string, value any) {
	for i := range *o {
		if (*o)[i].Name == name {
			(*o)[i].Value = value
			return
		}
	}
	o.Add(name, value)
}

// Add appends a member, even if there is one of that name.
func (o *Object) Add(name string, value any) { *o = append(*o, Member{name, value}) }

// Prepend puts a member in front of all others.
func (o *Object) Prepend(name string, value any) { *o = append(Object{{name, value}}, *o...) }

// Delete removes every member of that name.
func (o *Object) Delete(name string) {
	kept := Object{}
	for _, m := range *o {
		if m.Name != name {
			kept = append(kept, m)
		}
	}
	*o = kept
}

// Rename gives the first member called from the name to.
func (o *Object) Rename(from, to string) {
	for i := range *o {
		if (*o)[i].Name == from {
			(*o)[i].Name = to
			return
		}
	}
}

// Get returns the value of the first member of that name, or nil.
func (o Object) Get(name string) any {
	for _, m := range o {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// Clone copies the object, one level deep.
func (o Object) Clone() Object { return append(Object(nil), o...) }

// With returns a copy with one member set.
func (o Object) With(name string, value any) Object {
	c := o.Clone()
	c.Set(name, value)
	return c
}

// Without returns a copy without the named members.
func (o Object) Without(names ...string) Object {
	c := o.Clone()
	for _, n := range names {
		c.Delete(n)
	}
	return c
}

// JSON writes the object without white space. Values are strings, numbers, bools,
// nil, [Raw], [Object], slices of these, or anything that encoding/json takes.
func (o Object) JSON() []byte {
	var b bytes.Buffer
	o.write(&b)
	return b.Bytes()
}

func (o Object) String() string { return string(o.JSON()) }

// MarshalJSON lets an Object stand inside what encoding/json writes.
func (o Object) MarshalJSON() ([]byte, error) { return o.JSON(), nil }

func (o Object) write(b *bytes.Buffer) {
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if strings.HasPrefix(m.Name, `"`) {
			b.WriteString(m.Name)
		} else {
			writeValue(b, m.Name)
		}
		b.WriteByte(':')
		writeValue(b, m.Value)
	}
	b.WriteByte('}')
}

func writeValue(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case Raw:
		b.WriteString(string(v))
	case Object:
		v.write(b)
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			writeValue(b, e)
		}
		b.WriteByte(']')
	default:
		enc := json.NewEncoder(b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			panic(fmt.Sprintf("testkit: %T is not JSON: %v", v, err))
		}
		b.Truncate(b.Len() - 1) // the encoder's newline
	}
}

// B64 is base64url without padding (RFC 7515, section 2).
func B64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// UnB64 reverses [B64]; it panics on what it cannot read.
func UnB64(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic("testkit: not base64url: " + err.Error())
	}
	return b
}

const b64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// LooseBits returns another spelling of the same bytes: the unused low bits of the
// last character are set. It returns s itself when there are no unused bits.
func LooseBits(s string) string {
	var unused int
	switch len(s) % 4 {
	case 2:
		unused = 4
	case 3:
		unused = 2
	default:
		return s
	}
	i := bytes.IndexByte([]byte(b64Alphabet), s[len(s)-1])
	if i < 0 {
		return s
	}
	return s[:len(s)-1] + string(b64Alphabet[i^(1<<(unused-1))])
}
