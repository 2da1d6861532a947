package main

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"signalrd/hubs/auth/jwtbearer"
	"signalrd/internal/configfile"
)

// configFlag names the file that says what neither flags nor variables say.
type configFlag struct {
	Config string `placeholder:"FILE" help:"YAML file with flags, as keys without dashes (listen: 127.0.0.1:5000). A flag goes before its variable, that before the file (default: none)."`
}

// arguments are what the operator says: on the command line, in the environment,
// in a file.
type arguments struct {
	commands
	parser   *kong.Kong
	parsed   *kong.Context // nil if parsing failed
	mistakes []string      // in the file
	helped   bool          // help is what was asked for, and given

	args []string
}

// parse reads all of it. It fails if the command line or a variable makes no sense; what is wrong
// with the file is among the mistakes.
func parse(args []string, s *streams, options ...kong.Option) (*arguments, error) {
	a := &arguments{args: args}
	options = append([]kong.Option{
		kong.Name("signalrd"),
		kong.DefaultEnvars("SIGNALRD"),
		kong.Vars{"user_claims": strings.Join(jwtbearer.UserClaims, ","), "name_claims": strings.Join(jwtbearer.NameClaims, ",")},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Help(help),
		kong.Writers(s.out, s.err),
		kong.Exit(func(int) { a.helped = true }),
		kong.WithBeforeResolve(a.readFile),
		kong.Bind(s, a),
	}, options...)
	a.parser = kong.Must(&a.commands, options...)
	var err error
	if a.parsed, err = a.parser.Parse(args); err != nil {
		err = errors.Join(err, a.wrongFile())
	}
	return a, err
}

// run does what the command is for. Those that are about serving say themselves what is
// wrong with the file, beside what else is.
func (a *arguments) run() error {
	if command := a.parsed.Command(); command != "serve" && command != "check" {
		if err := a.wrongFile(); err != nil {
			return err
		}
	}
	return a.parsed.Run()
}

// readFile reads the file, if there is one for the command. What it says of
// other commands' flags is looked at, too.
func (a *arguments) readFile(c *kong.Context) error {
	for _, flag := range c.Flags() {
		if path, _ := c.FlagValue(flag).(string); flag.Name == "config" && path != "" {
			file, err := configfile.Read(path, serveFlags(c.Model))
			if err != nil {
				return fmt.Errorf("--config=%w", err)
			}
			a.mistakes = file.Mistakes()
			c.AddResolver(file)
		}
	}
	return nil
}

// serveFlags are the flags that a file may say.
func serveFlags(model *kong.Application) []*kong.Flag {
	for _, command := range model.Children {
		if command.Name == "serve" {
			return command.Flags
		}
	}
	panic("signalrd: there is no command serve")
}

// wrongFile says what is wrong with the file, nil if nothing is.
func (a *arguments) wrongFile() error {
	if len(a.mistakes) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("cannot start with:\n  %s", strings.Join(a.mistakes, "\n  "))}
}

// again reads everything anew.
func (a *arguments) again() (*arguments, error) {
	next, err := parse(a.args, &streams{out: io.Discard, err: io.Discard})
	if err == nil {
		err = next.Serve.complete(next.mistakes...)
	}
	return next, err
}

// changed are the flags of the server whose values are not the same.
func (a *arguments) changed(next *arguments) (names []string) {
	values := make(map[string]any)
	for _, flag := range serveFlags(a.parser.Model) {
		values[flag.Name] = flag.Target.Interface()
	}
	for _, flag := range serveFlags(next.parser.Model) {
		if !reflect.DeepEqual(values[flag.Name], flag.Target.Interface()) {
			names = append(names, "--"+flag.Name)
		}
	}
	return names
}
