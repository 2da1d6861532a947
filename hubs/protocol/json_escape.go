package protocol

import (
	"unicode"
	"unicode/utf8"
)

// appendJSONString appends s in quotes, escaped as ASP.NET Core escapes it
// (protocol §6.2). Bytes of s that are not UTF-8 become U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0 // of what is still to be copied
	for i := 0; i < len(s); {
		if len(s)-i >= 8 {
			if i += plainLen(bytesOf(s[i:])); i == len(s) {
				break
			}
		}
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		invalid := r == utf8.RuneError && n == 1
		if !invalid && !mustEscape(r) {
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		if invalid {
			dst = utf8.AppendRune(dst, utf8.RuneError)
		} else {
			dst = appendEscape(dst, r)
		}
		i += n
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// appendEscape appends r as the escape that stands for it.
func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, '\\', 'b')
	case '\t':
		return append(dst, '\\', 't')
	case '\n':
		return append(dst, '\\', 'n')
	case '\f':
		return append(dst, '\\', 'f')
	case '\r':
		return append(dst, '\\', 'r')
	}
	if r >= 0x10000 {
		r -= 0x10000
		dst = appendUnicodeEscape(dst, 0xD800+r>>10)
		r = 0xDC00 + r&0x3FF
	}
	return appendUnicodeEscape(dst, r)
}

func appendUnicodeEscape(dst []byte, unit rune) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, '\\', 'u',
		digits[unit>>12], digits[unit>>8&15], digits[unit>>4&15], digits[unit&15])
}

func mustEscape(r rune) bool {
	return r >= 0x10000 || escapedRunes[r>>6]>>(r&63)&1 != 0
}

// escapedRunes has a bit for each code point below U+10000 that is escaped.
// Above, all are.
var escapedRunes = newEscapedRunes()

func newEscapedRunes() *[0x10000 / 64]uint64 {
	set := new([0x10000 / 64]uint64)
	add := func(first, last rune, step rune) {
		for r := first; r <= last; r += step {
			set[r>>6] |= 1 << (r & 63)
		}
	}
	for _, table := range []*unicode.RangeTable{unicode.Cn, unicode.Co, unicode.Zs} {
		for _, r := range table.R16 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
	}
	add(0x0000, 0x001F, 1)
	add('"', '"', 1)
	add('\\', '\\', 1)
	add(0x007F, 0x00A0, 1)
	add(0x2028, 0x2029, 1)
	add(0xFEFF, 0xFEFF, 1)
	set[' '>>6] &^= 1 << ' '
	for _, r := range assignedByUnicode16 {
		set[r>>6] &^= 1 << (r & 63)
	}
	return set
}

// assignedByUnicode16 are the code points that .NET 10, which knows Unicode
// 16, leaves as they are, while Unicode 15, as in Go's tables, has not
// assigned them yet.
var assignedByUnicode16 = [...]rune{
	0x0897, 0x1B4E, 0x1B4F, 0x1B7F, 0x1C89, 0x1C8A, 0x2427, 0x2428, 0x2429, 0x2FFC, 0x2FFD,
	0x2FFE, 0x2FFF, 0x31E4, 0x31E5, 0x31EF, 0xA7CB, 0xA7CC, 0xA7CD, 0xA7DA, 0xA7DB, 0xA7DC,
}
