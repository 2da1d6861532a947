package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log"

	"signalrd/hubs/auth"
	"signalrd/hubs/auth/jwtbearer"
)

// jwtFlags say which tokens are good. A secret is not among them: everybody on
// a machine can read command lines.
type jwtFlags struct {
	SecretFile string        `placeholder:"FILE" help:"File with the secret that tokens are signed with (HMAC): 32 bytes or more, or \"base64:\" and base64 (default: the secret in the variable SIGNALRD_JWT_SECRET, if there is one)."`
	Key        string        `placeholder:"FILE" help:"PEM file with the public key or certificate of the issuer: RSA, ECDSA or Ed25519 (default: none)."`
	JWKS       string        `name:"jwks" placeholder:"URL" help:"The issuer's JSON Web Key Set: a URL, https:// unless it is on this machine, or a file (default: none)."`
	Issuer     []string      `placeholder:"NAME" help:"Issuers whose tokens are taken; \"any\" for all (default: must be said with --auth=jwt)."`
	Audience   []string      `placeholder:"NAME" help:"Audiences that tokens may be meant for; \"any\" for all, or none (default: must be said with --auth=jwt)."`
	Skew       time.Duration `default:"5m" help:"How far the issuer's clock may be from this one (default: ${default})."`
	UserClaim  []string      `default:"${user_claims}" placeholder:"CLAIM" help:"Claim that is a user's id; of several the first that a token has (default: ${default})."`
	NameClaim  []string      `default:"${name_claims}" placeholder:"CLAIM" help:"Claim that is a user's name; of several the first that a token has, else the id (default: ${default})."`
}

// secretVariable is the environment variable that may hold the secret.
const secretVariable = "SIGNALRD_JWT_SECRET"

// keySource is where the keys of tokens may come from.
type keySource struct {
	flag  string
	value string // empty: from elsewhere
	parse func([]byte) ([]jwtbearer.Key, error)
}

// keySources are those that were said; there should be one.
func (j *jwtFlags) keySources() []keySource {
	all := []keySource{
		{"--jwt-secret-file", j.SecretFile, jwtbearer.ParseSecret},
		{secretVariable, os.Getenv(secretVariable), jwtbearer.ParseSecret},
		{"--jwt-key", j.Key, jwtbearer.ParsePEM},
		{"--jwt-jwks", j.JWKS, jwtbearer.ParseJWKS},
	}
	return slices.DeleteFunc(all, func(k keySource) bool { return k.value == "" })
}

func (j *jwtFlags) missing() (missing []string) {
	if len(j.keySources()) == 0 {
		missing = append(missing, "--jwt-jwks=URL, --jwt-key=FILE, --jwt-secret-file=FILE or the variable "+secretVariable+": what tokens are checked with")
	}
	if len(j.Issuer) == 0 {
		missing = append(missing, "--jwt-issuer=NAME,... whose tokens are taken (or --jwt-issuer=any)")
	}
	if len(j.Audience) == 0 {
		missing = append(missing, "--jwt-audience=NAME,... that tokens are meant for (or --jwt-audience=any)")
	}
	return missing
}

// said are the flags that mean nothing without --auth=jwt, but for those that
// have a default.
func (j *jwtFlags) said() []saidFlag {
	return []saidFlag{
		{"--jwt-secret-file", j.SecretFile != ""},
		{"--jwt-key", j.Key != ""},
		{"--jwt-jwks", j.JWKS != ""},
		{"--jwt-issuer", len(j.Issuer) > 0},
		{"--jwt-audience", len(j.Audience) > 0},
	}
}

// wrong reports what makes no sense.
func (j *jwtFlags) wrong(say say) {
	sources := j.keySources()
	if len(sources) > 1 {
		say("%s and %s: the keys of tokens come from one of them", sources[0].flag, sources[1].flag)
	}
	for _, source := range sources {
		if err := source.check(); err != nil {
			say("%s: %v", source.flag, err)
		}
	}
	for _, names := range []struct {
		flag  string
		list  []string
		orAny bool
	}{{"issuer", j.Issuer, true}, {"audience", j.Audience, true}, {"user-claim", j.UserClaim, false}, {"name-claim", j.NameClaim, false}} {
		if slices.Contains(names.list, "") {
			say("--jwt-%s=%s: one of the names is empty", names.flag, strings.Join(names.list, ","))
		}
		if names.orAny && len(names.list) > 1 && slices.Contains(names.list, "any") {
			say("--jwt-%s=%s: either names or any", names.flag, strings.Join(names.list, ","))
		}
	}
	if j.Skew < 0 {
		say("--jwt-skew=%s: a time such as 5m, or 0s", j.Skew)
	}
}

func (k keySource) isURL() bool { return k.flag == "--jwt-jwks" && strings.Contains(k.value, "://") }

// check says what is wrong with where keys come from, as far as that can be
// told without asking another server.
func (k keySource) check() error {
	switch {
	case k.isURL():
		return jwtbearer.CheckURL(k.value)
	case k.flag == secretVariable:
		_, err := k.parse([]byte(k.value))
		return err
	default:
		return jwtbearer.CheckFile(k.value, k.parse)
	}
}

// open reads the keys, and follows where they come from if that can change.
// It says so for people, and how to stop.
func (k keySource) open(logger log.Logger) (keys jwtbearer.Keys, about string, stop func() error, err error) {
	options := &jwtbearer.KeySetOptions{Logger: logger}
	var following *jwtbearer.KeySet
	switch {
	case k.isURL():
		following, err = jwtbearer.FromURL(k.value, options)
	case k.flag == secretVariable:
		parsed, err := k.parse([]byte(k.value))
		return jwtbearer.StaticKeys(parsed), "the secret in " + secretVariable, func() error { return nil }, err
	default:
		following, err = jwtbearer.FromFile(k.value, k.parse, options)
	}
	if err != nil {
		return nil, "", nil, fmt.Errorf("%s: %w", k.flag, err)
	}
	return following, following.String(), following.Close, nil
}

// begin makes the scheme of the flags.
func (j *jwtFlags) begin(logger log.Logger) (*signIn, error) {
	logger = log.With(logger, "part", "sign-in")
	keys, from, stop, err := j.keySources()[0].open(logger)
	if err != nil {
		return nil, err
	}
	options := jwtbearer.Options{
		Keys:       keys,
		Issuers:    unlessAny(j.Issuer),
		Audiences:  unlessAny(j.Audience),
		ClockSkew:  j.Skew,
		UserClaims: j.UserClaim,
		NameClaims: j.NameClaim,
		Logger:     logger,
	}
	if j.Skew == 0 {
		options.ClockSkew = -1 // no skew, where 0 is the default
	}
	scheme, err := jwtbearer.New(options)
	if err != nil {
		return nil, err
	}
	about := fmt.Sprintf("JSON Web Tokens of issuer %s for audience %s, checked with %s",
		strings.Join(j.Issuer, " or "), strings.Join(j.Audience, " or "), from)
	return &signIn{scheme, auth.SignedIn, about, stop}, nil
}

// unlessAny is a list of names, nil for "any".
func unlessAny(names []string) []string {
	if len(names) == 1 && names[0] == "any" {
		return nil
	}
	return names
}
