package ekm

// An AdviceRow is a row of the table of advice, for the tests of the table.
type AdviceRow struct {
	Party      Party
	Credential CredentialKind
	Code       Code
	Phase      Phase
	Status     int
	Host       string
	Named      []string
	Advice     string
}

// AdviceTable is the whole table, in its order.
func AdviceTable() []AdviceRow {
	table := adviceTable()
	rows := make([]AdviceRow, len(table))
	for i, r := range table {
		rows[i] = AdviceRow{r.party, r.credential, r.code, r.phase, r.status, r.host, r.named, r.advice}
	}
	return rows
}

// AdviceRowOf is the index of the row that e's advice comes from, -1 for none.
func AdviceRowOf(e *Error) int {
	table := adviceTable()
	for i := range table {
		if table[i].fits(e) {
			return i
		}
	}
	return -1
}
