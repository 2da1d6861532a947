package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/internal/doctor"
)

// redisConfig is where Redis is and who we are there (docs/redis.md).
type redisConfig struct {
	Redis       string `placeholder:"URL" help:"Redis to use, redis://[user:password@]host:port[,host:port...][/database], rediss:// with TLS, or unix:///path (default: ${redis_default})."`
	RedisMode   string `enum:"single,sentinel,cluster" default:"single" help:"What --redis names: \"single\": one Redis; \"sentinel\": sentinels, which know where it is; \"cluster\": nodes of a Redis Cluster (default: ${default})."`
	RedisMaster string `placeholder:"NAME" help:"The name that sentinels know the master by (default: must be said with --redis-mode=sentinel)."`
	RedisPrefix string `placeholder:"TEXT" help:"Put in front of the backplane's channel names, as ASP.NET Core's ChannelPrefix (default: empty)."`

	RedisPasswordFile         string `placeholder:"FILE" help:"File with the password; read for each connection, so that it may change (default: the one in --redis)."`
	RedisSentinelUser         string `placeholder:"NAME" help:"User at the sentinels (default: none)."`
	RedisSentinelPasswordFile string `placeholder:"FILE" help:"File with the password at the sentinels (default: none)."`

	RedisCA         string `name:"redis-ca" placeholder:"FILE" help:"PEM file with the authorities that Redis's certificate may be of (default: the system's)."`
	RedisCert       string `placeholder:"FILE" help:"PEM file with this server's certificate for Redis (default: none)."`
	RedisKey        string `placeholder:"FILE" help:"PEM file with the key of --redis-cert (default: none)."`
	RedisServerName string `placeholder:"NAME" help:"Name that Redis's certificates are for (default: the host of each)."`
	RedisClientName string `default:"signalrd" placeholder:"NAME" help:"Name that Redis's CLIENT LIST shows (default: ${default})."`
}

// spoolFlags say what waits while Redis is away.
type spoolFlags struct {
	SpoolBytes int           `default:"16777216" placeholder:"BYTES" help:"While Redis is away, up to so much waits for other servers, and then the oldest goes; 0: nothing waits (default: ${default})."`
	SpoolAge   time.Duration `default:"2m" help:"And nothing waits for longer than this (default: ${default})."`
}

// busOptions are what the flags say of the backplane.
func (c *config) busOptions(logger log.Logger) *backplane.BusOptions {
	options := &backplane.BusOptions{Prefix: c.RedisPrefix, SpoolBytes: c.SpoolBytes, SpoolAge: c.SpoolAge, Logger: logger}
	if c.SpoolBytes == 0 {
		options.SpoolBytes = -1 // nothing, where 0 is the default
	}
	return options
}

// deployment is the Redis that the flags name; nil if there is to be none. Its
// errors say what is wrong with which flag, all at once. They have no URL in them:
// there may be a password in it.
func (c *redisConfig) deployment() (*backplane.Deployment, error) {
	if c.Redis == "" {
		return nil, nil
	}
	addrs, options, err := c.parse()
	if err != nil {
		return nil, err
	}
	switch c.RedisMode {
	case "sentinel":
		ask, err := c.sentinels(addrs, options)
		if err != nil {
			return nil, err
		}
		return named("--redis")(backplane.Sentinel(c.RedisMaster, options, ask...))
	case "cluster":
		return named("--redis")(backplane.Cluster(addrs, options))
	}
	return named("--redis")(backplane.Single(options))
}

// parse is what the flags say, as far as it goes together: the addresses, and who we are
// there. Only one Redis alone has its address in the options, too.
func (c *redisConfig) parse() (addrs []string, options *redis.Options, err error) {
	addrs, options, err = parseRedisURL(c.Redis, c.defaultPort())
	if err != nil {
		return nil, nil, fmt.Errorf("--redis: %w", err)
	}
	if c.RedisMaster != "" && c.RedisMode != "sentinel" {
		return nil, nil, errors.New("--redis-master goes with --redis-mode=sentinel")
	}
	several := c.RedisMode == "sentinel" || c.RedisMode == "cluster"
	if len(addrs) == 0 && several {
		return nil, nil, errors.New("--redis: unix:// goes with --redis-mode=single")
	}
	if err := errors.Join(c.identify(options), c.secure(options)); err != nil {
		return nil, nil, err
	}
	if several {
		options.Addr = ""
	} else if len(addrs) > 1 {
		return nil, nil, errors.New("--redis: several addresses go with --redis-mode=sentinel or --redis-mode=cluster")
	}
	return addrs, options, nil
}

// sentinels are who to ask, and who we are there.
func (c *redisConfig) sentinels(addrs []string, server *redis.Options) (ask []*redis.Options, err error) {
	if c.RedisMaster == "" {
		return nil, errors.New("--redis-master=NAME goes with --redis-mode=sentinel, such as mymaster")
	}
	password, err := passwordIn("--redis-sentinel-password-file", c.RedisSentinelPasswordFile)
	if err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		ask = append(ask, &redis.Options{
			Addr:       addr,
			Username:   c.RedisSentinelUser,
			Password:   password,
			ClientName: c.RedisClientName,
			TLSConfig:  server.TLSConfig,
		})
	}
	return ask, nil
}

// patient is the Redis that the flags name, for the doctor: each server by itself, too.
func (c *redisConfig) patient() (*doctor.Redis, error) {
	at, err := c.deployment()
	if err != nil {
		return nil, err
	}
	addrs, options, err := c.parse()
	if err != nil {
		return nil, err
	}
	r := &doctor.Redis{At: at, Master: c.RedisMaster}
	switch c.RedisMode {
	case "sentinel":
		r.Sentinels, err = c.sentinels(addrs, options)
	case "cluster":
		for _, addr := range addrs {
			node, failed := backplane.Cluster([]string{addr}, options)
			err = errors.Join(err, failed)
			r.Nodes = append(r.Nodes, node)
		}
	}
	return r, err
}

// named puts the flag in front of what is wrong with it.
func named(flag string) func(*backplane.Deployment, error) (*backplane.Deployment, error) {
	return func(d *backplane.Deployment, err error) (*backplane.Deployment, error) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		return d, nil
	}
}

// identify says who we are.
func (c *redisConfig) identify(o *redis.Options) error {
	if strings.ContainsAny(c.RedisClientName, " \n") {
		return fmt.Errorf("--redis-client-name=%q: a name has no spaces", c.RedisClientName)
	}
	o.ClientName = cmp.Or(o.ClientName, c.RedisClientName)
	if c.RedisPasswordFile == "" {
		return nil
	}
	if o.Password != "" {
		return errors.New("--redis-password-file: there is a password in --redis, too; take it out")
	}
	const flag = "--redis-password-file"
	user, file := o.Username, c.RedisPasswordFile
	o.CredentialsProviderContext = func(context.Context) (string, string, error) {
		password, err := passwordIn(flag, file)
		return user, password, err
	}
	_, err := passwordIn(flag, file)
	return err
}

// passwordIn reads a file, without the end of its line.
func passwordIn(flag, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("%s=%s: there is no password in it", flag, file)
	}
	return password, nil
}

// secure says whom we trust, and shows who we are.
func (c *redisConfig) secure(o *redis.Options) error {
	if o.TLSConfig == nil {
		if flag := cmp.Or(c.RedisCA, c.RedisCert, c.RedisKey, c.RedisServerName); flag != "" {
			return errors.New("--redis-ca, --redis-cert, --redis-key and --redis-server-name go with TLS: say --redis=rediss://host:6379")
		}
		return nil
	}
	o.TLSConfig.ServerName = c.RedisServerName // empty: that of the host, whichever it is
	if c.RedisCA != "" {
		pem, err := os.ReadFile(c.RedisCA)
		if err != nil {
			return fmt.Errorf("--redis-ca: %w", err)
		}
		o.TLSConfig.RootCAs = x509.NewCertPool()
		if !o.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("--redis-ca=%s: there is no certificate in it", c.RedisCA)
		}
	}
	if (c.RedisCert == "") != (c.RedisKey == "") {
		return errors.New("--redis-cert and --redis-key go together")
	}
	if c.RedisCert == "" {
		return nil
	}
	if _, err := tls.LoadX509KeyPair(c.RedisCert, c.RedisKey); err != nil {
		return fmt.Errorf("--redis-cert and --redis-key: %w", err)
	}
	o.TLSConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		own, err := tls.LoadX509KeyPair(c.RedisCert, c.RedisKey) // anew, for it may have been renewed
		return &own, err
	}
	return nil
}

// redisCLI is the command that talks to the Redis at an address, without its
// user's name and password.
func (c *redisConfig) redisCLI(addr string) string {
	scheme, _, _ := strings.Cut(c.Redis, "://")
	switch {
	case c.RedisMode == "sentinel":
		return "redis-cli -u " + scheme + "://MASTER"
	case c.RedisMode == "cluster":
		return "redis-cli -u " + scheme + "://NODE"
	case scheme == "unix":
		return "redis-cli -s " + addr
	}
	return "redis-cli -u " + scheme + "://" + addr
}

func (c *redisConfig) defaultPort() string {
	if c.RedisMode == "sentinel" {
		return "26379"
	}
	return "6379"
}

// parseRedisURL takes a URL that go-redis does, with further addresses after the
// first one's comma.
func parseRedisURL(text, defaultPort string) (addrs []string, options *redis.Options, err error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return nil, nil, errNoURL
	}
	if scheme == "unix" {
		options, err = redis.ParseURL(text)
		return nil, options, withoutSecrets(err)
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	who, where := "", rest[:end]
	if at := strings.LastIndexByte(where, '@'); at >= 0 {
		who, where = where[:at+1], where[at+1:]
	}
	for addr := range strings.SplitSeq(where, ",") {
		if strings.LastIndexByte(addr, ':') <= strings.LastIndexByte(addr, ']') {
			addr += ":" + defaultPort
		}
		if options, err = redis.ParseURL(scheme + "://" + who + addr + rest[end:]); err != nil {
			return nil, nil, withoutSecrets(err)
		}
		addrs = append(addrs, options.Addr)
	}
	return addrs, options, nil
}

var errNoURL = errors.New("that is no URL of a Redis; say redis://user:password@host:6379, with what is special in a password as %XX")

// withoutSecrets keeps of an error what cannot quote a password.
func withoutSecrets(err error) error {
	if err == nil {
		return nil
	}
	for _, harmless := range []string{"redis: unexpected option", "redis: invalid URL scheme", "redis: empty unix socket path"} {
		if strings.HasPrefix(err.Error(), harmless) {
			return errors.New(strings.TrimPrefix(err.Error(), "redis: "))
		}
	}
	return errNoURL
}
