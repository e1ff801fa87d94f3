// Package workercheck holds any worker, in any language, against the protocol: it starts the program as the service
// would, says each thing that the service may say, and much that it may not, and judges what comes back.
//
// It does not judge how fast a worker is, nor its model: the right answers come with the cases.
//
//	cases, err := workercheck.ReadCases(file)
//	results, err := workercheck.Run(ctx, workercheck.Command{Path: "./my-worker"},
//		workercheck.Model{Format: "mine", Data: model, Cases: cases}, func(r workercheck.Result) {
//			fmt.Println(r.Verdict, r.Name, r.Detail)
//		})
//
// docs/worker-protocol.md tells what each rule is for.
package workercheck
