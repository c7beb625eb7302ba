// Package matrix holds no code but tests, and those are of the whole library's
// promise: every failure has one number, every number one place in the source
// and a scenario that reaches it through the exported API alone, and docs/codes.md
// says so.
//
//	TestMatrix         the scenarios: real sockets, the fake vault, crafted files
//	TestOnePlace       reads the source: where each code is raised
//	TestCodedErrors    reads the source: what exported functions return
//	TestPage           docs/codes.md is what code table, source and scenarios make
package matrix

//go:generate go test -count=1 -run ^TestPage$ -update .
