package protocol

import (
	"strings"
	"testing"
)

func TestNextTextRecord(t *testing.T) {
	const tooLarge = "The maximum message size of 8B was exceeded. " +
		"The message size can be configured in AddHubOptions."
	tests := []struct {
		name   string
		buf    string
		limit  int
		record string
		n      int
		err    string
	}{
		{"nothing yet", "", 8, "", 0, ""},
		{"no end yet", "abc", 8, "", 0, ""},
		{"one", "abc\x1e", 8, "abc", 4, ""},
		{"empty", "\x1eabc", 8, "", 1, ""},
		{"the first of two", "a\x1ebc\x1e", 8, "a", 2, ""},
		{"as long as the limit", "abcdefg\x1e", 8, "abcdefg", 8, ""},
		{"one byte longer", "abcdefgh\x1e", 8, "", 0, tooLarge},
		{"the limit is reached without an end", "abcdefgh", 8, "", 0, ""},
		{"and exceeded", "abcdefghi", 8, "", 0, tooLarge},
		{"much behind a short record", "abc\x1e" + strings.Repeat("x", 20), 8, "abc", 4, ""},
		{"no limit", strings.Repeat("x", 40000) + "\x1e", 0, strings.Repeat("x", 40000), 40001, ""},
		{"no limit, no end", strings.Repeat("x", 40000), 0, "", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			record, n, err := JSON.Next([]byte(tt.buf), tt.limit)
			if string(record) != tt.record || n != tt.n {
				t.Errorf("got %q, %d, want %q, %d", record, n, tt.record, tt.n)
			}
			checkError(t, err, "InvalidDataException", tt.err)
		})
	}
}

func TestNextTextRecordCannotOverwriteWhatFollows(t *testing.T) {
	buf := []byte("abc\x1edef\x1e")
	record, n, err := NextTextRecord(buf, 0)
	if err != nil || n != 4 {
		t.Fatalf("got %d, %v", n, err)
	}
	_ = append(record, "XYZ"...)
	if string(buf) != "abc\x1edef\x1e" {
		t.Errorf("appending to a record changed the buffer: %q", buf)
	}
}

// checkError wants an *Error of that type and text, or no error for no text.
func checkError(t *testing.T, err error, wantType, wantText string) {
	t.Helper()
	if wantText == "" {
		if err != nil {
			t.Errorf("unexpected error: %v", err)
		}
		return
	}
	e, ok := err.(*Error)
	if !ok {
		t.Fatalf("got %T (%v), want *Error %q", err, err, wantText)
	}
	if e.ExceptionType() != wantType || e.Error() != wantText {
		t.Errorf("got  %s: %s\nwant %s: %s", e.ExceptionType(), e.Error(), wantType, wantText)
	}
}
