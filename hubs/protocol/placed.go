package protocol

import "strings"

// placed is an error somewhere inside an array, a map or a struct. Its text
// names each level on the way there. It is put together only when somebody
// asks for it: made at each level anew it would cost the square of the depth.
type placed struct {
	where string
	err   error
}

func (p *placed) Error() string {
	var text strings.Builder
	for {
		text.WriteString(p.where)
		text.WriteString(": ")
		inner, ok := p.err.(*placed)
		if !ok {
			text.WriteString(p.err.Error())
			return text.String()
		}
		p = inner
	}
}

func (p *placed) Unwrap() error { return p.err }
