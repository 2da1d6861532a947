package main

import (
	"time"

	"github.com/go-kit/log"

	"signalrd/notify"
)

// signingFlags say which notifications are taken by who has signed them
// (docs/notifications.md).
type signingFlags struct {
	KeysFile string        `placeholder:"FILE" help:"File with the keys that notifications may be signed with, an id and a secret on each line; it may change under way (default: none)."`
	Signed   string        `enum:",required,optional,off" default:"" placeholder:"WHETHER" help:"\"required\": only signed notifications are taken; \"optional\": also those without a signature; \"off\": signatures are not looked at (default: required with --notify-keys-file, else off)."`
	Window   time.Duration `default:"5m" help:"How far the time of a signed notification may be from this server's clock; for so long none is taken twice (default: ${default})."`
}

// mode is what --notify-signed says or, if it says nothing, means.
func (s *signingFlags) mode() string {
	switch {
	case s.Signed != "":
		return s.Signed
	case s.KeysFile != "":
		return "required"
	}
	return "off"
}

func (s *signingFlags) missing() []string {
	if s.mode() != "off" && s.KeysFile == "" {
		return []string{"--notify-keys-file=FILE with the keys that notifications are signed with, for --notify-signed=" + s.Signed}
	}
	return nil
}

// wrong reports what makes no sense.
func (s *signingFlags) wrong(taken bool, say say) {
	if s.KeysFile != "" && !taken {
		say("--notify-keys-file: it goes with notifications, which --no-notify leaves to others")
	}
	if s.KeysFile != "" {
		if err := notify.CheckKeyFile(s.KeysFile); err != nil {
			say("--notify-keys-file=%s: %v", s.KeysFile, err)
		}
	}
	if s.Window < time.Second {
		say("--notify-window=%s: at least 1s", s.Window)
	}
}

// begin makes what the flags say. The keys are followed until they are closed;
// they are nil if signatures are not looked at.
func (s *signingFlags) begin(logger log.Logger) (signing notify.Signing, keys *notify.KeyFile, err error) {
	if s.mode() == "off" {
		return signing, nil, nil
	}
	keys, err = notify.FollowKeys(s.KeysFile, &notify.KeyFileOptions{Logger: logger})
	if err != nil {
		return signing, nil, err
	}
	return notify.Signing{Keys: keys, Optional: s.mode() == "optional", Window: s.Window}, keys, nil
}
