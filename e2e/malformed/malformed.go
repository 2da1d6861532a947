// Package malformed has the records that no client should send, with what ASP.NET Core
// answers to each. The tables say how they are read.
package malformed

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Record is one of them.
type Record struct {
	Content string   // without its framing
	Answers []string // before the connection ends, or lives on; see IsClose
}

//go:embed json.txt
var inJSON string

//go:embed messagepack.txt
var inMessagePack string

// Records are those in an encoding, "json" or "messagepack".
func Records(encoding string) (table []Record, err error) {
	tables := map[string]struct {
		text string
		read func(string) (string, error)
	}{"json": {inJSON, strconv.Unquote}, "messagepack": {inMessagePack, unhex}}
	for line := range strings.Lines(tables[encoding].text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		field := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		content, err := tables[encoding].read(field[0])
		if err != nil {
			return nil, fmt.Errorf("%w in %s", err, field[0])
		}
		table = append(table, Record{content, field[1:]})
	}
	return table, nil
}

func unhex(text string) (string, error) {
	content, err := hex.DecodeString(text)
	return string(content), err
}

// IsClose says whether an answer is a Close record with an error, and returns the error's
// detail.
func IsClose(answer string) (detail string, ok bool) { return strings.CutPrefix(answer, "!") }

// Ends says whether the connection ends with the record.
func (r Record) Ends() bool {
	for _, answer := range r.Answers {
		if _, ok := IsClose(answer); ok || strings.HasPrefix(answer, `{"type":7`) || strings.HasPrefix(answer, "[7,") {
			return true
		}
	}
	return false
}
