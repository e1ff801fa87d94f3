// Package report writes the results of load runs, and of runs with faults, in the forms that people and machines read.
//
// WriteJSON is the result itself, in the published format of load-result.schema.json (see Schema); ReadJSON takes it
// back. WriteCSV has a row an interval for a spreadsheet, WriteJUnit a test case an objective for a CI server, and
// WriteHTML is one file to look at and to pass on: it holds the result and draws every chart from it in the browser,
// without a network.
//
//	result, err := report.ReadJSON(file)
//	if err != nil {
//		return err
//	}
//	return report.WriteHTML(page, result)
//
// WriteFaultsHTML, WriteFaultsText, WriteFaultsMarkdown and WriteFaultsJSON do the same for the effect table of package
// fault, and ReadFaultsJSON takes it back.
//
// All of them write plain data that is finished: to follow a run while it goes on, use the progress of package load.
// The functions share nothing and may run at the same time, also on one result, which they do not change.
package report
