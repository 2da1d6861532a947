package peers

import (
	"flag"
	"strconv"
)

// WaitTogether lets so many tests run at once even if there are fewer processors, unless
// -parallel says how many: with peers, tests spend their time waiting. It is called
// by a TestMain that has parsed the flags.
func WaitTogether(tests int) error {
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if said {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(tests))
}
