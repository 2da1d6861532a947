package doctor

import (
	"encoding/json"
	"fmt"
	"io"
)

// Lines writes each finding on a line, for people: in colour, if they can see it.
func Lines(out io.Writer, colour bool) func(Finding) {
	return func(f Finding) {
		status := fmt.Sprintf("%-4s", f.Status)
		if colour {
			status = [...]string{OK: "\x1b[32m", Warn: "\x1b[33m", Fail: "\x1b[31m"}[f.Status] + status + "\x1b[0m"
		}
		line := fmt.Sprintf("%s  %-17s  %s", status, f.Check, f.Text)
		if f.Advice != "" {
			line += " -> " + f.Advice
		}
		fmt.Fprintln(out, line) // where that fails, the exit code still tells
	}
}

// JSON writes each finding as an object on a line.
func JSON(out io.Writer) func(Finding) {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return func(f Finding) { e.Encode(f) } // as above
}
