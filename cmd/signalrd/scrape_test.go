package main

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// scraper reads a program's metrics again and again, and remembers what has moved.
type scraper struct {
	t   *testing.T
	url string

	last   map[string]float64 // by series, as they are written
	family map[string]string  // of each series
	ever   map[string][2]float64
}

func newScraper(t *testing.T, url string) *scraper {
	t.Helper()
	s := &scraper{t: t, url: url, family: map[string]string{}, ever: map[string][2]float64{}}
	s.scrape()
	return s
}

// text is what is served.
func (s *scraper) text() string {
	s.t.Helper()
	response, err := http.Get(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("%d, %v: %s", response.StatusCode, err, body)
	}
	return string(body)
}

func (s *scraper) scrape() {
	s.t.Helper()
	first := len(s.ever) == 0
	s.last = map[string]float64{}
	kinds := map[string]string{}
	for line := range strings.Lines(s.text()) {
		line = strings.TrimSpace(line)
		if words := strings.Fields(line); strings.HasPrefix(line, "# TYPE ") {
			kinds[words[2]] = words[3]
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		series := line[:at]
		s.last[series], s.family[series] = value, familyOf(series, kinds)
		s.remember(series, value, first)
	}
}

// remember notes how low and how high a series has been. One that comes later was at
// zero before.
func (s *scraper) remember(series string, value float64, first bool) {
	ever, known := s.ever[series]
	if !known && first {
		ever = [2]float64{value, value}
	}
	s.ever[series] = [2]float64{min(ever[0], value), max(ever[1], value)}
}

func familyOf(series string, kinds map[string]string) string {
	name, _, _ := strings.Cut(series, "{")
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && (kinds[base] == "histogram" || kinds[base] == "summary") {
			return base
		}
	}
	return name
}

// families are all metrics, and whether each has moved.
func (s *scraper) families() map[string]bool {
	all := map[string]bool{}
	for series, ever := range s.ever {
		all[s.family[series]] = all[s.family[series]] || ever[0] != ever[1]
	}
	return all
}

// labels are the values that a label of a metric has had.
func (s *scraper) labels(family, label string) (values []string) {
	for series := range s.ever {
		_, after, ok := strings.Cut(series, label+`="`)
		if s.family[series] == family && ok {
			value, _, _ := strings.Cut(after, `"`)
			values = append(values, value)
		}
	}
	return values
}

// await scrapes until a series has at least the given value.
func (s *scraper) await(series string, atLeast float64) {
	s.t.Helper()
	eventually(s.t, series, func() (bool, any) {
		s.scrape()
		return s.last[series] >= atLeast, s.last[series]
	})
}

// awaitZero scrapes until a series is zero.
func (s *scraper) awaitZero(series string) {
	s.t.Helper()
	eventually(s.t, series+" is 0", func() (bool, any) {
		s.scrape()
		value, there := s.last[series]
		return there && value == 0, value
	})
}
