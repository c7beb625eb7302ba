package ekm_test

import (
	"bufio"
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv-ekm/ekm"
)

type documented struct {
	code   ekm.Code
	symbol string
}

// readCodes is the public documentation's list of numbers and symbols.
func readCodes(t *testing.T) []documented {
	t.Helper()
	file, err := os.Open("testdata/codes.tsv")
	require.NoError(t, err)
	defer func() { assert.NoError(t, file.Close()) }()

	var all []documented
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		number, symbol, found := strings.Cut(lines.Text(), "\t")
		require.True(t, found, "line %q", lines.Text())
		n, err := strconv.Atoi(number)
		require.NoError(t, err)
		all = append(all, documented{ekm.Code(n), symbol})
	}
	require.NoError(t, lines.Err())
	return all
}

func TestCodesAreTheDocumentedOnes(t *testing.T) {
	want := readCodes(t)
	require.Len(t, want, 145)

	var got []documented
	for _, c := range ekm.Codes() {
		got = append(got, documented{c, c.Symbol()})
	}
	assert.Equal(t, want, got)
	assert.IsIncreasing(t, ekm.Codes())
}

func TestCodesIsAFreshSlice(t *testing.T) {
	ekm.Codes()[0] = 9999
	assert.Equal(t, ekm.SCPErrSuccess, ekm.Codes()[0])
}

func TestCodeString(t *testing.T) {
	for _, c := range []struct {
		code ekm.Code
		want string
	}{
		{3106, "3106 ErrorHttpSendRequest"},
		{4, "4 scp_err_NotFound"},
		{401, "401 acquireToken"},
		{3050, "3050 (undocumented)"},
		{-1, "-1 (undocumented)"},
	} {
		assert.Equal(t, c.want, c.code.String())
		assert.Equal(t, c.want, c.code.Error())
	}
}

// imperatives are the words that a remedy may begin with.
const imperatives = " Add Allow Ask Assign Check Collect Compare Connect Copy Correct Create Do Enable Export Find Free " +
	"Give Look Make Open Pass Put Raise Read Recover Remove Repeat Restart Set Start Stop Supply Test Upgrade Upload Use Wait Wrap "

// checkText holds a text for people to its form. Microsoft's documentation says
// these things in other words, which the forbidden phrases stand for.
func checkText(t *testing.T, text string) {
	t.Helper()
	assert.NotEmpty(t, text)
	assert.LessOrEqual(t, len(text), 420, "%q", text) // with a command in it
	assert.True(t, strings.HasSuffix(text, ".") && !strings.HasSuffix(text, ".."), "no full stop: %q", text)
	assert.NotContains(t, text, "\n")
	assert.NotContains(t, text, "  ")
	assert.Equal(t, strings.TrimSpace(text), text)
	for _, phrase := range []string{
		"due to", "malformatted", "lease", "Active Directory", "Cannot ", "Error ", "operation has", "Server responded",
	} {
		assert.NotContains(t, text, phrase)
	}
}

func checkRemedy(t *testing.T, text string) {
	t.Helper()
	checkText(t, text)
	verb, _, _ := strings.Cut(text, " ")
	assert.Contains(t, imperatives, " "+verb+" ", "not an imperative: %q", text)
}

func TestTextsForPeople(t *testing.T) {
	undocumented := []ekm.Code{8, 2055, 3020, 3075, math.MinInt, math.MaxInt}
	for _, c := range append(ekm.Codes(), undocumented...) {
		t.Run(c.String(), func(t *testing.T) {
			checkText(t, c.Explain())
			checkRemedy(t, c.Remedy())
			assert.NotEqual(t, c.Explain(), c.Remedy())
		})
	}
}

func TestExplainIsUnique(t *testing.T) {
	seen := map[string]ekm.Code{}
	for _, c := range ekm.Codes() {
		other, found := seen[c.Explain()]
		assert.False(t, found, "%v and %v have the same explanation", c, other)
		seen[c.Explain()] = c
	}
}

func TestUndocumentedCodes(t *testing.T) {
	for _, c := range []ekm.Code{math.MinInt, -1, 8, 400, 3020, 3050, 3075, 3123, 4001, math.MaxInt} {
		assert.Empty(t, c.Symbol())
		assert.Empty(t, c.Generation())
		assert.Equal(t, ekm.SCPErrFailure, c.Provider())
		assert.NotEmpty(t, c.ProviderReason())
		_, found := c.Legacy()
		assert.False(t, found)
	}
	// The older connector used these numbers without documenting them.
	for c := ekm.Code(3020); c <= 3075; c++ {
		assert.Contains(t, c.Explain(), "1.0.4.0")
		assert.Contains(t, c.Remedy(), "1.0.5.0")
	}
	assert.NotContains(t, ekm.Code(3123).Explain(), "1.0.4.0")
}

// TestTextsOfReports: what public reports show is answered, with every meaning that
// the number had.
func TestTextsOfReports(t *testing.T) {
	for code, words := range map[ekm.Code][]string{
		// The parent key is missing, and the installer does not make it.
		2058: {`Create the key HKLM\SOFTWARE\Microsoft\SQL Server Cryptographic Provider with`, "full control", "The vault is not at fault"},
		// Connectors 1.0.0.x, before the documented generations.
		2050: {"1.0.0.x", "exception"},
		2053: {"1.0.0.x", "web request", "get, list, wrapKey and unwrapKey"},
		2055: {"1.0.0.x", "exists already"},
		// Under Msg 33029 the pair of numbers decides.
		0:    {"Msg 33029", "refused"},
		1:    {"Msg 33029", "signature"},
		3:    {"Msg 33029", "not supported", "15.0.2000.440"},
		3303: {"every node of an availability group"},
	} {
		for _, word := range words {
			assert.Contains(t, code.Explain()+" "+code.Remedy(), word, "%v", code)
		}
	}
	assert.NotContains(t, ekm.SCPErrFailureInRegistry.Remedy(), `Provider\Azure Key Vault`, "a key below the one that is missing")
}

func TestLegacy(t *testing.T) {
	pairs := map[ekm.Code]ekm.Code{ // older: current
		3002: 3100, 3003: 3101, 3004: 3102, 3005: 3103, 3006: 3104,
		3007: 3105, 3008: 3106, 3009: 3107, 3010: 3108, 3011: 3109,
		3012: 3110, 3013: 3111, 3014: 3114, 3015: 3115, 3016: 3116,
		3017: 3117, 3018: 3118, 3019: 3119, 3076: 3112, 3077: 3113,
	}
	require.Len(t, pairs, 20)

	got := map[ekm.Code]ekm.Code{}
	for _, c := range ekm.Codes() {
		older, found := c.Legacy()
		if !found {
			assert.Zero(t, older)
			continue
		}
		assert.Equal(t, ekm.GenerationCurrent, c.Generation())
		assert.Equal(t, ekm.GenerationOlder, older.Generation())
		assert.Equal(t, c.Symbol(), older.Symbol())
		assert.Equal(t, c.Provider(), older.Provider())
		assert.Contains(t, older.Explain(), "1.0.4.0")
		assert.Contains(t, older.Explain(), strconv.Itoa(int(c)))
		assert.Contains(t, older.Explain(), c.Explain())
		got[older] = c
	}
	assert.Equal(t, pairs, got)
}

// A symbol that two numbers share has an older and a current one.
func TestEqualSymbolsAreLegacyPairs(t *testing.T) {
	bySymbol := map[string][]ekm.Code{}
	for _, c := range ekm.Codes() {
		bySymbol[c.Symbol()] = append(bySymbol[c.Symbol()], c)
	}
	twice := 0
	for symbol, codes := range bySymbol {
		if len(codes) == 1 {
			continue
		}
		require.Len(t, codes, 2, symbol)
		older, found := codes[1].Legacy()
		assert.True(t, found, symbol)
		assert.Equal(t, codes[0], older, symbol)
		twice++
	}
	assert.Equal(t, 20, twice)
}

func TestGeneration(t *testing.T) {
	count := map[ekm.Generation]int{}
	for _, c := range ekm.Codes() {
		count[c.Generation()]++
	}
	assert.Equal(t, map[ekm.Generation]int{
		ekm.GenerationInterface: 8,
		ekm.GenerationEventLog:  2,
		ekm.GenerationProvider:  7,
		ekm.GenerationBoth:      2,
		ekm.GenerationOlder:     20,
		ekm.GenerationCurrent:   106,
	}, count)
}

func TestProvider(t *testing.T) {
	for _, c := range ekm.Codes() {
		p := c.Provider()
		assert.True(t, p >= ekm.SCPErrSuccess && p <= ekm.SCPErrProviderError, "%v folds to %v", c, p)
		assert.Equal(t, p, p.Provider(), "%v: folding twice changes the result", c)
		assert.NotEmpty(t, c.ProviderReason())
		assert.False(t, strings.HasSuffix(c.ProviderReason(), "."), "a phrase, not a sentence: %q", c.ProviderReason())
		// Only success may look like success to the database engine.
		assert.Equal(t, c == ekm.SCPErrSuccess || c == ekm.ErrorSuccess, p == ekm.SCPErrSuccess, "%v", c)
		if strings.Contains(c.Symbol(), "OutOfMemory") {
			assert.Equal(t, ekm.SCPErrFailure, p, "%v: a limit is neither a refusal nor a bad argument", c)
		}
	}
	for code, want := range map[ekm.Code]ekm.Code{
		ekm.ErrorSuccess:                       ekm.SCPErrSuccess,
		ekm.ErrorUnknown:                       ekm.SCPErrFailure,
		ekm.SCPErrNotSupported:                 ekm.SCPErrNotSupported,
		ekm.SCPErrKeyNameDoesNotFitThumbprint:  ekm.SCPErrInvalidArgument,
		ekm.SCPErrPasswordTooShort:             ekm.SCPErrAuthFailure,
		ekm.SCPErrConvertThumbprintToKeyName:   ekm.SCPErrNotFound,
		ekm.ErrorHttpSendRequest:               ekm.SCPErrFailure,
		ekm.ErrorHttpResponseCodeUnauthorized:  ekm.SCPErrAuthFailure,
		ekm.ErrorHttpResponseCodeClientError:   ekm.SCPErrInvalidArgument,
		ekm.ErrorHttpResponseCodeServerError:   ekm.SCPErrFailure,
		ekm.ErrorHttpResourceNotFound:          ekm.SCPErrNotFound,
		ekm.ErrorHttpOperationForbidden:        ekm.SCPErrAuthFailure,
		ekm.ErrorGetAKVResourceUrlStopPosition: ekm.SCPErrAuthFailure,
		ekm.ErrorGetTokenBadCredentials:        ekm.SCPErrAuthFailure,
		ekm.ErrorGetTokenRejected:              ekm.SCPErrAuthFailure,
		ekm.ErrorPfxCertAuthParamsImportPfx:    ekm.SCPErrAuthFailure,
		ekm.ErrorAKVDoesNotExist:               ekm.SCPErrFailure,
	} {
		assert.Equal(t, want, code.Provider(), "%v", code)
	}
}

func TestOutOfMemoryCodesAreLimits(t *testing.T) {
	count := 0
	for _, c := range ekm.Codes() {
		if !strings.Contains(c.Symbol(), "OutOfMemory") {
			continue
		}
		count++
		text := c.Explain() + c.Remedy()
		assert.True(t, strings.Contains(text, "Limits.") || strings.Contains(text, "limit") || strings.Contains(text, "KiB"),
			"%v does not say which limit: %q", c, text)
	}
	assert.Equal(t, 34, count)
}

func TestCodeIsAnError(t *testing.T) {
	var err error = ekm.ErrorAKVDoesNotExist
	assert.ErrorIs(t, err, ekm.ErrorAKVDoesNotExist)
	assert.NotErrorIs(t, err, ekm.ErrorHttpSendRequest)
	var code ekm.Code
	require.True(t, errors.As(err, &code))
	assert.Equal(t, ekm.ErrorAKVDoesNotExist, code)
}

func TestLookupDoesNotAllocate(t *testing.T) {
	_ = ekm.ErrorSuccess.Symbol() // builds the table
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_ = ekm.ErrorHttpSendRequest.Explain()
		_ = ekm.ErrorHttpSendRequest.Provider()
		_, _ = ekm.ErrorHttpSendRequest.Legacy()
	}))
}
