package inference

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	inferencepb "github.com/dougong-io/dougong/api/inference"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/pool"
	"github.com/dougong-io/dougong/kit/problem"
	"github.com/dougong-io/dougong/services/inference/repository"
)

// RegisterGRPC hands the service of the Open Inference Protocol to handle, with the role that a caller needs for each
// method; methods that are not named are open to anyone. The server must hand a message that has a method
// UnmarshalBuffers its bytes, take those of one that has MarshalBuffers, and call its Abandon if they are never given back,
// as internal/grpcserver does.
func (s *Service) RegisterGRPC(handle func(desc *grpc.ServiceDesc, impl any, roles map[string]string)) {
	desc := inferencepb.GRPCInferenceService_ServiceDesc
	desc.Methods = append([]grpc.MethodDesc{}, desc.Methods...)
	for i := range desc.Methods {
		if desc.Methods[i].MethodName == "ModelInfer" {
			desc.Methods[i].Handler = inferHandler
		}
	}
	handle(&desc, &grpcService{Service: s}, map[string]string{
		"ModelReady": "read", "ModelMetadata": "read", "ModelInfer": "read", "ModelConfig": "read", "ModelStatistics": "read", "RepositoryIndex": "read",
		"RepositoryModelLoad": "release", "RepositoryModelUnload": "release",
	})
}

// grpcService is the Open Inference Protocol over gRPC. ModelInfer is inferHandler's.
type grpcService struct {
	inferencepb.UnimplementedGRPCInferenceServiceServer
	*Service
}

// inferMessage is a ModelInferRequest as it came. It is not taken apart into generated structs, which would copy each of
// its tensors. Its rules are checked where it is read; a test holds that against those of the .proto.
type inferMessage struct {
	buffers *pool.Buffers
	piece   mem.Buffer  // the message, if it came in one piece
	whole   pool.Buffer // else
	copied  bool        // there is a whole
}

// UnmarshalBuffers keeps the message, without a copy where it came in one piece.
func (m *inferMessage) UnmarshalBuffers(data mem.BufferSlice) error {
	if len(data) == 1 {
		data[0].Ref()
		m.piece = data[0]
		return nil
	}
	m.whole, m.copied = m.buffers.Get(data.Len()), true
	m.whole.Grow(data.Len())
	body := m.whole.Bytes()
	for _, piece := range data {
		body = append(body, piece.ReadOnlyData()...)
	}
	m.whole.SetBytes(body)
	return nil
}

func (m *inferMessage) body() []byte {
	if m.copied {
		return m.whole.Bytes()
	}
	return m.piece.ReadOnlyData()
}

func (m *inferMessage) free() {
	if m.piece != nil {
		m.piece.Free()
	}
	if m.copied {
		m.whole.Release()
	}
}

// inferAnswer is a ModelInferResponse as it goes. Its memory, and what it takes of the budget, is given back when the
// transport has sent it, or given it up: what a slow reader holds is its answer.
type inferAnswer struct {
	bytes  []byte
	buffer pool.Buffer
	held   share
	gone   atomic.Bool
}

// MarshalBuffers gives it away.
func (a *inferAnswer) MarshalBuffers() (mem.BufferSlice, error) {
	if mem.IsBelowBufferPoolingThreshold(cap(a.bytes)) { // gRPC would not tell when it is done with so little
		short := mem.SliceBuffer(append([]byte{}, a.bytes...))
		a.Put(nil)
		return mem.BufferSlice{short}, nil
	}
	return mem.BufferSlice{mem.NewBuffer(&a.bytes, a)}, nil
}

// Get and Put make it the pool that its memory goes back to.
func (a *inferAnswer) Get(length int) *[]byte { return mem.DefaultBufferPool().Get(length) }
func (a *inferAnswer) Put(*[]byte) {
	if !a.gone.Swap(true) {
		a.held.give()
		a.buffer.Release()
	}
}

// Abandon is called instead when its connection has ended. The memory is left to whoever may still look at it.
func (a *inferAnswer) Abandon() {
	if !a.gone.Swap(true) {
		a.held.give()
		a.buffer.SetBytes(nil)
		a.buffer.Release()
	}
}

// inferHandler is ModelInfer. The server lets it ask for the message when there is room for it.
func inferHandler(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	s := srv.(*grpcService).Service
	x := s.begin(s.grpcCaller(ctx), protocol{kind: overGRPC})
	defer x.report()
	out, err := x.call(decode)
	if err != nil {
		x.result, err = s.grpcError(x.refusal(err))
		x.rows = 0
		return nil, err
	}
	if x.by != nil {
		_ = grpc.SetHeader(ctx, metadata.Pairs(servedByHeader, x.by.named[0]))
	}
	_ = grpc.SetTrailer(ctx, metadata.Pairs("server-timing", string(x.appendTiming(nil)))) // fails only outside of a server
	return out, nil
}

// call answers over gRPC, or returns why it did not.
func (x *exchange) call(decode func(any) error) (*inferAnswer, error) {
	if err := x.admit(); err != nil {
		return nil, err
	}
	defer func() { x.permit.Done() }() // it may be another one by then
	answer := &inferAnswer{held: share{of: &x.service.memory}}
	sent := false
	x.answer = x.service.buffers.Get(0)
	defer func() {
		if !sent {
			answer.held.give()
			x.answer.Release()
		}
	}()
	err := x.receiveMessage(decode)
	x.leave(err) // as over HTTP, the answer goes out without a slot and a place
	if err != nil {
		return nil, err
	}
	if !answer.held.take(cap(x.answer.Bytes())) {
		return nil, errNoMemory
	}
	answer.bytes = x.answer.Bytes()
	if x.service.points.write.On() {
		if answer.bytes, err = x.strikeMessage(answer.bytes); err != nil {
			return nil, err
		}
	}
	x.result, x.took = OK, time.Since(x.start)
	answer.buffer, sent = x.answer, true
	return answer, nil
}

// receiveMessage reads the message and computes the answer to it, as receive does over HTTP. What a message may take
// before it is whole is for the server to bound.
func (x *exchange) receiveMessage(decode func(any) error) error {
	in := &inferMessage{buffers: x.service.buffers}
	defer in.free()
	if err := decode(in); err != nil {
		return &messageError{err}
	}
	held := share{of: &x.service.memory}
	defer held.give()
	body := in.body()
	if !held.take(cap(body)) {
		return errNoMemory
	}
	if x.service.points.body.On() {
		damage, err := x.strikeBody()
		switch {
		case err != nil:
			return err
		case damage.Drop:
			body = nil
		case damage.Any():
			body = damage.Apply(append([]byte{}, body...), 0) // others may read these bytes, too
		}
	}
	return x.compute(body)
}

// messageError is that of a message that the server could not read, and says so with a status of its own.
type messageError struct{ status error }

func (e *messageError) Error() string { return e.status.Error() }
func (e *messageError) Unwrap() error { return e.status }

// strikeMessage is strikeAnswer for gRPC, where an answer that is dropped is a call that failed.
func (x *exchange) strikeMessage(answer []byte) ([]byte, error) {
	damage, err := x.service.points.write.Damage(x.ctx, x.attr())
	if err = ordered(x.ctx, err, nil); err != nil {
		return nil, err
	}
	if damage.Drop {
		return nil, errDropped
	}
	return damage.Apply(answer, 0), nil
}

var errDropped = status.Error(codes.Unavailable, "the answer was dropped by a fault rule")

// grpcCaller reads a call's metadata.
func (s *Service) grpcCaller(ctx context.Context) caller {
	c := caller{ctx: ctx}
	if s.deps.Tenant != nil {
		remote := ""
		if p, ok := peer.FromContext(ctx); ok {
			remote = p.Addr.String()
		}
		c.tenant = s.deps.Tenant(ctx, remote)
	}
	s.readHeader(&c, func(name string) string {
		if values := metadata.ValueFromIncomingContext(ctx, name); len(values) > 0 {
			return values[0]
		}
		return ""
	})
	return c
}

// grpcError is the status that err is answered with.
func (s *Service) grpcError(err error) (Result, error) {
	if err == errDropped {
		return Failed, err
	}
	if unread, ok := errors.AsType[*messageError](err); ok {
		return resultOf(status.Code(unread.status)), unread.status
	}
	p, result := s.problem(err)
	code := grpcCode(&p)
	if errors.Is(err, context.Canceled) {
		code = codes.Canceled
	}
	if rule, ok := errors.AsType[*fault.Error](err); ok && rule.GRPCCode != 0 {
		code = codes.Code(rule.GRPCCode)
	}
	st := status.New(code, p.Detail)
	about := &errdetails.ErrorInfo{Reason: p.Code, Domain: serverName}
	if reference, ok := p.Extensions[memberReference].(string); ok {
		about.Metadata = map[string]string{memberReference: reference}
	}
	details := []protoadapt.MessageV1{about}
	if p.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(p.RetryAfter)})
	}
	if with, err := st.WithDetails(details...); err == nil {
		st = with
	}
	return result, st.Err()
}

// resultOf is how a call ended whose message could not be read.
func resultOf(code codes.Code) Result {
	switch code {
	case codes.DeadlineExceeded, codes.Canceled:
		return Expired
	}
	return Invalid // INTERNAL as well: gRPC says so of what a client packed wrongly
}

// grpcCode is the code that stands for a problem.
func grpcCode(p *problem.Problem) codes.Code {
	switch p.Status {
	case 400, 415, 422:
		return codes.InvalidArgument
	case 404:
		return codes.NotFound
	case 408, 504:
		return codes.DeadlineExceeded
	case 413:
		return codes.ResourceExhausted
	case 501:
		return codes.Unimplemented
	case 429, 502, 503:
		return codes.Unavailable
	}
	return codes.Internal
}

func (s *grpcService) ServerLive(context.Context, *inferencepb.ServerLiveRequest) (*inferencepb.ServerLiveResponse, error) {
	return &inferencepb.ServerLiveResponse{Live: true}, nil
}

func (s *grpcService) ServerReady(context.Context, *inferencepb.ServerReadyRequest) (*inferencepb.ServerReadyResponse, error) {
	_, ready := s.readiness()
	return &inferencepb.ServerReadyResponse{Ready: ready}, nil
}

func (s *grpcService) ServerMetadata(context.Context, *inferencepb.ServerMetadataRequest) (*inferencepb.ServerMetadataResponse, error) {
	return &inferencepb.ServerMetadataResponse{Name: serverName, Version: s.deps.Version, Extensions: extensions}, nil
}

// asks is a request of a method that names a model and, or not, its version.
type asks interface {
	GetName() string
	GetVersion() string
}

func (s *grpcService) asked(r asks) (*served, error) {
	v, err := s.lookUp(wantedBy(r))
	if err != nil {
		_, err = s.grpcError(err)
	}
	return v, err
}

func wantedBy(r asks) wanted {
	return wanted{model: r.GetName(), version: r.GetVersion(), hasModel: true, hasVersion: r.GetVersion() != ""}
}

func (s *grpcService) ModelReady(_ context.Context, r *inferencepb.ModelReadyRequest) (*inferencepb.ModelReadyResponse, error) {
	v, err := s.lookUp(wantedBy(r))
	if errors.Is(err, repository.ErrUnknownModel) || errors.Is(err, repository.ErrUnknownVersion) {
		return &inferencepb.ModelReadyResponse{}, nil // who waits for a model asks until it is there
	}
	if err != nil {
		_, err = s.grpcError(err)
		return nil, err
	}
	ready, _ := s.versionReady(v)
	return &inferencepb.ModelReadyResponse{Ready: ready}, nil
}

func (s *grpcService) ModelMetadata(_ context.Context, r *inferencepb.ModelMetadataRequest) (*inferencepb.ModelMetadataResponse, error) {
	v, err := s.asked(r)
	if err != nil {
		return nil, err
	}
	m := s.models.Load().metadataOf(v, wantedBy(r))
	tensors := func(from []tensorMetadata) []*inferencepb.ModelMetadataResponse_TensorMetadata {
		var to []*inferencepb.ModelMetadataResponse_TensorMetadata
		for _, t := range from {
			to = append(to, &inferencepb.ModelMetadataResponse_TensorMetadata{Name: t.Name, Datatype: t.Datatype, Shape: t.Shape})
		}
		return to
	}
	return &inferencepb.ModelMetadataResponse{Name: m.Name, Versions: m.Versions, Platform: m.Platform, Inputs: tensors(m.Inputs), Outputs: tensors(m.Outputs), Properties: m.Properties}, nil
}

func (s *grpcService) ModelConfig(_ context.Context, r *inferencepb.ModelConfigRequest) (*inferencepb.ModelConfigResponse, error) {
	v, err := s.asked(r)
	if err != nil {
		return nil, err
	}
	c := s.models.Load().configOf(v, s.cfg.MaxRows)
	answer := &inferencepb.ModelConfig{Name: c.Name, Platform: c.Platform, MaxBatchSize: int32(min(c.MaxBatchSize, math.MaxInt32)), Backend: c.Backend}
	answer.VersionPolicy = policyOf(c.VersionPolicy.Specific.Versions)
	for _, t := range c.Input {
		answer.Input = append(answer.Input, &inferencepb.ModelInput{Name: t.Name, DataType: inferencepb.DataType(inferencepb.DataType_value[t.DataType]), Dims: t.Dims})
	}
	for _, t := range c.Output {
		answer.Output = append(answer.Output, &inferencepb.ModelOutput{Name: t.Name, DataType: inferencepb.DataType(inferencepb.DataType_value[t.DataType]), Dims: t.Dims})
	}
	return &inferencepb.ModelConfigResponse{Config: answer}, nil
}

// policyOf names versions as the protocol does, by number; nil where one is none.
func policyOf(versions []string) *inferencepb.ModelVersionPolicy {
	specific := &inferencepb.ModelVersionPolicy_Specific{}
	for _, version := range versions {
		number, err := strconv.ParseInt(version, 10, 64)
		if err != nil {
			return nil
		}
		specific.Versions = append(specific.Versions, number)
	}
	return &inferencepb.ModelVersionPolicy{PolicyChoice: &inferencepb.ModelVersionPolicy_Specific_{Specific: specific}}
}

func (s *grpcService) ModelStatistics(_ context.Context, r *inferencepb.ModelStatisticsRequest) (*inferencepb.ModelStatisticsResponse, error) {
	lines, err := s.statistics(wanted{model: r.GetName(), version: r.GetVersion(), hasModel: r.GetName() != ""})
	if err != nil {
		_, err = s.grpcError(err)
		return nil, err
	}
	answer := &inferencepb.ModelStatisticsResponse{}
	duration := func(d durationStats) *inferencepb.StatisticDuration {
		return &inferencepb.StatisticDuration{Count: d.Count, Ns: d.NS}
	}
	for _, line := range lines {
		all := line.InferenceStats
		answer.ModelStats = append(answer.ModelStats, &inferencepb.ModelStatistics{
			Name: line.Name, Version: line.Version, LastInference: uint64(line.LastInference), InferenceCount: line.InferenceCount, ExecutionCount: line.ExecutionCount,
			InferenceStats: &inferencepb.InferStatistics{
				Success: duration(all.Success), Fail: duration(all.Fail), Queue: duration(all.Queue), ComputeInput: duration(all.ComputeInput),
				ComputeInfer: duration(all.ComputeInfer), ComputeOutput: duration(all.ComputeOutput),
				CacheHit: duration(all.CacheHit), CacheMiss: duration(all.CacheMiss),
			},
		})
	}
	return answer, nil
}

func (s *grpcService) RepositoryIndex(_ context.Context, r *inferencepb.RepositoryIndexRequest) (*inferencepb.RepositoryIndexResponse, error) {
	lines, err := s.index(r.GetReady())
	if r.GetRepositoryName() != "" {
		err = malformed("unknown repository %.64q; there is one, and it has no name", r.GetRepositoryName())
	}
	if err != nil {
		_, err = s.grpcError(err)
		return nil, err
	}
	answer := &inferencepb.RepositoryIndexResponse{}
	for _, line := range lines {
		answer.Models = append(answer.Models, &inferencepb.RepositoryIndexResponse_ModelIndex{Name: line.Name, Version: line.Version, State: line.State, Reason: line.Reason})
	}
	return answer, nil
}

func (s *grpcService) RepositoryModelLoad(_ context.Context, _ *inferencepb.RepositoryModelLoadRequest) (*inferencepb.RepositoryModelLoadResponse, error) {
	_, err := s.grpcError(errNoLoad)
	return nil, err
}

func (s *grpcService) RepositoryModelUnload(_ context.Context, _ *inferencepb.RepositoryModelUnloadRequest) (*inferencepb.RepositoryModelUnloadResponse, error) {
	_, err := s.grpcError(errNoUnload)
	return nil, err
}
