// Package faultadmin serves a [fault.Set] over HTTP: people and programs look at its rules, set them and take them
// away while the process runs.
//
//	GET    /faults             what there is and what it did: a fault.Status
//	PUT    /faults             a fault.Document replaces all rules of this source
//	DELETE /faults             takes all rules of this source away
//	PUT    /faults/rules/{id}  one rule, added or replaced
//	DELETE /faults/rules/{id}  takes one rule away
//	PUT    /faults/kill        throws this source's kill switch
//	DELETE /faults/kill        releases it
//
// The kill switch stays as it is, unless a document throws it: who tidies up must not let loose what others stopped.
//
// What changes something answers 200 with the status of the rules that it set, or 204. Errors are problem documents:
// invalid_faults (400), beyond_ceiling (403), no_such_rule (404), no_faults_in_build (501).
//
// [Unreached] is for who sets rules: it says why one strikes nothing.
//
// Do not put it on a port that strangers reach, nor behind a fault point: it is how faults are ended.
//
//	for pattern, handler := range faultadmin.Routes(set, fault.Admin) {
//		mux.Handle(pattern, authorised(handler))
//	}
package faultadmin
