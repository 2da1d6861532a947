package audit

// Notification is what became of one.
type Notification struct {
	Channel string // that it was published on
	ID, Key string // what it says of itself, empty if nothing
	User    string // empty: everybody
	Message *string
	Bytes   int // of all of it

	// Connections are those of this server that received it.
	Connections int

	// Refused is why nobody did, empty if it was not refused. Reason is the same
	// without particulars, so that there are only a few of them.
	Refused, Reason string
}

// Notification writes a line about a notification: each one that was delivered,
// and those that were refused in measure, each reason for itself.
func (l *Log) Notification(n Notification) {
	accepted := n.Refused == ""
	if !accepted && !l.passes("notification refused: "+n.Reason) {
		return
	}
	line := newLine(l.now(), "notification")
	if accepted {
		line = line.text("outcome", "accepted")
	} else {
		line = line.text("outcome", "refused").outside("reason", n.Refused)
	}
	line = line.outside("channel", n.Channel).outside("id", n.ID).outside("key", n.Key).outside("user", n.User).
		number("bytes", uint64(n.Bytes))
	if accepted {
		line = line.number("connections", uint64(n.Connections))
	}
	switch {
	case !l.options.Text:
	case n.Message == nil:
		line = line.null("text")
	default:
		line = line.text("text", *n.Message)
	}
	l.add(line.end())
}

// Request is an HTTP request that something is written about.
type Request struct {
	Remote string // the address that it comes from, as far as this server can see
	Path   string // without the query, which may hold a token
}

// SignInRefused writes a line about somebody who was answered 401, and why. The
// reason must not hold a token. It is held in measure.
func (l *Log) SignInRefused(from Request, reason string) {
	if !l.passes("sign-in refused") {
		return
	}
	line := newLine(l.now(), "sign-in").text("outcome", "refused").outside("remote", from.Remote).outside("path", from.Path)
	l.add(line.outside("reason", reason).end())
}

// LimitReached writes a line about a limit, by the name of its flag, that somebody came
// up against, and the request that was refused or that opened the connection; user is empty for an anonymous caller. It is held in measure, each
// limit for itself.
func (l *Log) LimitReached(limit string, from Request, user string) {
	if !l.passes("limit: " + limit) {
		return
	}
	line := newLine(l.now(), "limit").outside("limit", limit).outside("remote", from.Remote).outside("path", from.Path)
	l.add(line.outside("user", user).end())
}

// passes holds a kind of lines in measure.
func (l *Log) passes(kind string) bool {
	if l.gate.Pass(kind) {
		return true
	}
	l.leftOut.Add(1)
	return false
}

func (l *Log) add(line []byte) {
	if !l.queue.add(line) {
		l.lost.Add(1)
	}
}
