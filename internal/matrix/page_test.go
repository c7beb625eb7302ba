package matrix_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
)

var update = flag.Bool("update", false, "write docs/codes.md anew")

// TestPage: docs/codes.md is what the code table, the source and the scenarios
// make of testdata/codes.md.tmpl.
func TestPage(t *testing.T) {
	page := makePage(t)
	name := filepath.Join(root, "docs", "codes.md")
	if *update {
		require.NoError(t, os.WriteFile(name, page, 0o644))
	}
	have, err := os.ReadFile(name)
	require.NoError(t, err)
	want, got := strings.Split(string(page), "\n"), strings.Split(string(have), "\n")
	for i := range min(len(want), len(got)) {
		require.Equal(t, want[i], got[i], "docs/codes.md, line %d, is out of date: run go generate ./internal/matrix", i+1)
	}
	assert.Len(t, got, len(want), "docs/codes.md is out of date: run go generate ./internal/matrix")
}

// TestPageAnswers: who has a number finds its line, and there what to do.
func TestPageAnswers(t *testing.T) {
	page := string(makePage(t))
	for _, c := range ekm.Codes() {
		assert.Equal(t, 1, strings.Count(page, fmt.Sprintf(`<a id="%d">`, c)), "places that #%d leads to", c)
		assert.Contains(t, page, fmt.Sprintf("](#%d)", c), "the index")
		assert.Contains(t, page, c.Remedy())
	}
}

// A chapter is a section of the page: the codes of a step.
type chapter struct {
	Title string
	Codes []entry
}

// An entry is all that the page tells of a code.
type entry struct {
	Code      ekm.Code
	Older     ekm.Code // 0: none
	Endpoint  string   // the parties that the scenarios name
	Raised    *place
	Scenarios []scenario
}

func (e entry) Number() int       { return int(e.Code) }
func (e entry) Budget() bool      { return strings.Contains(e.Code.Symbol(), "OutOfMemory") }
func (e entry) Provider() string  { return e.Code.Provider().String() }
func (e entry) Reached() []string { return told(e.Scenarios) }
func (e entry) File() string {
	return fmt.Sprintf("[%s:%d](../%[1]s#L%[2]d)", e.Raised.file, e.Raised.line)
}

func chapterOf(c ekm.Code) (t string) {
	return titles()[slices.IndexFunc(titles(), func(x titled) bool { return c <= x.last })].title
}

type titled struct {
	last  ekm.Code
	title string
}

// titles are the chapters, each with its last code.
func titles() []titled {
	return []titled{
		{7, "Results of a provider"},
		{404, "Statuses in the event log"},
		{2058, "Credential string and thumbprints"},
		{3001, "Success and the unknown"},
		{3077, "Older numbers of the HTTP codes"},
		{3122, "HTTP"},
		{3208, "Challenge"},
		{3308, "Token"},
		{3412, "Get key"},
		{3506, "Backup key"},
		{3609, "Wrap key"},
		{3709, "Unwrap key"},
		{3800, "Client secret"},
		{3808, "Assertion"},
		{3814, "PFX"},
		{3819, "PEM"},
		{3822, "Legacy private key"},
		{3900, "Names"},
		{4000, "Retries"},
	}
}

func makePage(t *testing.T) []byte {
	t.Helper()
	byCode := make(map[ekm.Code][]scenario)
	for _, row := range scenarios() {
		byCode[row.code] = append(byCode[row.code], row)
	}
	raising := places(t)
	var chapters []chapter
	for _, c := range ekm.Codes() {
		if title := chapterOf(c); len(chapters) == 0 || chapters[len(chapters)-1].Title != title {
			chapters = append(chapters, chapter{Title: title})
		}
		e := entry{Code: c, Scenarios: byCode[c], Endpoint: parties(byCode[c])}
		if older, ok := c.Legacy(); ok {
			e.Older = older
		}
		if where := raising[c]; len(where) == 1 {
			e.Raised = &where[0]
		}
		last := &chapters[len(chapters)-1]
		last.Codes = append(last.Codes, e)
	}
	page, err := template.ParseFiles(filepath.Join("testdata", "codes.md.tmpl"))
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, page.Execute(&b, chapters))
	return b.Bytes()
}

// parties lists who the scenarios of a code fail with.
func parties(rows []scenario) string {
	var names []string
	for _, row := range rows {
		name := string(row.party)
		switch row.party {
		case ekm.Local:
			name = "none, it fails on this machine"
		case ekm.Authority:
			name = "login endpoint"
		}
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, "; ")
}

// told are the scenarios as sentences: what is done, and what the error tells.
func told(rows []scenario) []string {
	var lines []string
	for _, row := range rows {
		line := row.how
		if row.op != "" {
			line += ", operation `" + row.op + "`"
		}
		if row.phase != "" {
			line += fmt.Sprintf(", phase `%s`", row.phase)
		}
		if row.status != 0 {
			line += fmt.Sprintf(", HTTP %d", row.status)
		}
		if row.service != "" {
			line += " `" + row.service + "`"
		}
		lines = append(lines, line)
	}
	return lines
}

// TestLocalTexts: a text says that the failure is this machine's where, and only
// where, the error does.
func TestLocalTexts(t *testing.T) {
	other := make(map[ekm.Code]bool)
	for _, row := range scenarios() {
		other[row.code] = other[row.code] || row.party != ekm.Local
	}
	for _, c := range raised() {
		switch says := strings.HasPrefix(c.Explain(), "Local:"); {
		case says:
			assert.False(t, other[c], "%v is said to be local and is not", c)
		case !other[c] && c >= ekm.ErrorHttpCreateHttpClientOutOfMemory:
			assert.Fail(t, "a text that does not say that it is local", "%v", c)
		}
	}
}
