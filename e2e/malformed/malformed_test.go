package malformed

import "testing"

func TestTables(t *testing.T) {
	for _, encoding := range []string{"json", "messagepack"} {
		table, err := Records(encoding)
		if err != nil || len(table) < 300 {
			t.Errorf("%s: %d records, %v", encoding, len(table), err)
		}
		ends := 0
		for _, r := range table {
			if r.Ends() {
				ends++
			}
		}
		if ends == 0 || ends == len(table) {
			t.Errorf("%s: %d of %d records end the connection", encoding, ends, len(table))
		}
	}
}
