package notify

// envelope is what a notification says besides whom it is for and what: who
// has signed it, and when. Those who know nothing of signatures ignore it.
//
//	{"user":"Ale","message":"Your report is ready!",
//	 "id":"8c0d…","time":1795654800,"key":"2026-11","signature":"5a1f…"}
//
// A nil *envelope collects nothing.
type envelope struct {
	id, key, signature string
	time               int64

	given    fields // members that are there and not null
	wrong    fields // those of them that are not what they should be
	repeated bool   // one of the members with a meaning stands there twice, in whatever case
	seen     fields
}

// fields is a set of the members that have a meaning.
type fields uint8

const (
	userField fields = 1 << iota
	messageField
	idField
	timeField
	keyField
	signatureField
)

const (
	maxIDBytes  = 64 // the longest id of a notification
	maxKeyBytes = 64 // the longest id of a key
)

// saw notes that a member stands in the notification.
func (e *envelope) saw(field fields) {
	if e == nil {
		return
	}
	e.repeated = e.repeated || e.seen&field != 0
	e.seen |= field
}

// take reads a member that is neither the user nor the message. What is wrong
// with it matters only to those who look for a signature.
func (e *envelope) take(name string, value []byte) {
	if e == nil {
		return
	}
	switch {
	case isName(name, "id"):
		e.takeText(idField, &e.id, value, maxIDBytes)
	case isName(name, "time"):
		e.takeTime(value)
	case isName(name, "key"):
		e.takeText(keyField, &e.key, value, maxKeyBytes)
	case isName(name, "signature"):
		e.takeText(signatureField, &e.signature, value, 2*signatureBytes)
	}
}

// set notes a member that has a value, which may be as it should be.
func (e *envelope) set(field fields, value []byte, ok bool) {
	e.saw(field)
	e.given &^= field
	e.wrong &^= field
	if value[0] == 'n' { // null
		return
	}
	e.given |= field
	if !ok {
		e.wrong |= field
	}
}

func (e *envelope) takeText(field fields, into *string, value []byte, most int) {
	text, ok := "", value[0] == '"'
	if ok {
		text, ok = unquote(value)
	}
	if ok = ok && text != "" && len(text) <= most; !ok {
		text = ""
	}
	*into = text
	e.set(field, value, ok)
}

func (e *envelope) takeTime(value []byte) {
	seconds, ok := wholeNumber(value)
	e.time = seconds
	e.set(timeField, value, ok)
}

// wholeNumber reads what is signed as it stands: so there must be one way to
// write it. 15 digits are enough for some time.
func wholeNumber(digits []byte) (n int64, ok bool) {
	if len(digits) > 15 || digits[0] == '0' {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// signed says whether there is a signature, good or not.
func (e *envelope) signed() bool { return e.given&signatureField != 0 }

// complete says whether all is there that a signature needs, and is what it
// should be.
func (e *envelope) complete() bool {
	const needed = idField | timeField | keyField | signatureField
	return e.given&needed == needed && e.wrong&needed == 0
}
