package main

import (
	"github.com/go-kit/log"

	"signalrd/hubs/auth"
)

// signInFlags say how users are known.
type signInFlags struct {
	Auth           string   `enum:",anonymous,name,jwt" default:"" placeholder:"SCHEME" help:"How users are known: \"jwt\": by signed tokens; \"anonymous\": not at all; \"name\", with --dev only: the access token is the name (default: must be said; with --dev name)."`
	JWT            jwtFlags `embed:"" prefix:"jwt-"`
	AllowAnonymous bool     `help:"With --auth=jwt, let in callers without a token, too (default: off)."`
	CloseOnExpiry  bool     `help:"With --auth=jwt, end a connection when its token expires; its client may connect again with a new one (default: off)."`
}

func (s *signInFlags) missing() []string {
	switch s.Auth {
	case "":
		return []string{"--auth=jwt (or --auth=anonymous): how users are known"}
	case "jwt":
		return s.JWT.missing()
	default:
		return nil
	}
}

// wrong reports what makes no sense.
func (s *signInFlags) wrong(dev bool, say say) {
	if s.Auth == "name" && !dev {
		say("--auth=name: it lets anybody be anybody and goes with --dev only")
	}
	if s.Auth == "jwt" {
		s.JWT.wrong(say)
		return
	}
	for _, flag := range append(s.JWT.said(),
		saidFlag{"--allow-anonymous", s.AllowAnonymous},
		saidFlag{"--close-on-expiry", s.CloseOnExpiry}) {
		if flag.said {
			say("%s: it goes with --auth=jwt only", flag.name)
		}
	}
}

// saidFlag is a flag, and whether it was said.
type saidFlag struct {
	name string
	said bool
}

// signIn is how users are known, at work.
type signIn struct {
	scheme  auth.Scheme
	require auth.Requirement // nil: anonymous callers may come
	about   string           // for people
	close   func() error
}

// begin makes what the flags say, and reads the keys of tokens if there are any.
func (s *signInFlags) begin(logger log.Logger) (*signIn, error) {
	nothing := func() error { return nil }
	switch s.Auth {
	case "name":
		return &signIn{auth.Name{}, nil, "an access token is its user's name (development only)", nothing}, nil
	case "anonymous":
		return &signIn{auth.Anonymous{}, nil, "everybody is anonymous", nothing}, nil
	}
	begun, err := s.JWT.begin(logger)
	if err != nil {
		return nil, err
	}
	if s.AllowAnonymous {
		begun.require = nil
		begun.about += "; anonymous callers may come, too"
	}
	return begun, nil
}
