package zz
import (
 "testing";"time";"net";"net/http";"io";"os";"bytes";"context";"mime/multipart";"strings";"fmt"
 "net/http/httptest"
 "database/sql";"database/sql/driver"
 "github.com/dougong-io/dougong/kit/fault"
 "github.com/dougong-io/dougong/kit/fault/faulthttp"
 "github.com/dougong-io/dougong/kit/fault/faultfs"
 "github.com/dougong-io/dougong/kit/fault/faultnet"
 "github.com/dougong-io/dougong/kit/fault/faultsql"
 "github.com/dougong-io/dougong/kit/limit"
 "github.com/dougong-io/dougong/kit/clock"
)
func set(t *testing.T) *fault.Set { c:=fault.DefaultConfig(); s,err:=fault.New(c); if err!=nil{t.Fatal(err)}; t.Cleanup(s.Close); return s }
func put(t *testing.T, s *fault.Set, r fault.Rule){ t.Helper(); if r.ID==""{r.ID="r"}; r.For=time.Minute; if err:=s.Put(fault.Admin,r); err!=nil{t.Fatal(err)} }

func TestCrashRead(t *testing.T){
 s:=set(t)
 l,_:=net.Listen("tcp","127.0.0.1:0")
 ll,err:=limit.NewListener(l, limit.DefaultConnConfig(), limit.WithConnFaults(s)); if err!=nil{t.Fatal(err)}
 put(t,s,fault.Rule{Point:"limit.read",Skip:1,Panic:&fault.Panicking{}})
 srv:=&http.Server{Handler:http.HandlerFunc(func(w http.ResponseWriter,r *http.Request){time.Sleep(50*time.Millisecond)})}
 go srv.Serve(ll)
 _,ge:=http.Get("http://"+l.Addr().String()); t.Log(ge); for _,p:=range s.Status().Points{t.Log(p.Name,p.Hits)}
 time.Sleep(200*time.Millisecond)
}
func TestCrashAccept(t *testing.T){
 s:=set(t)
 l,_:=net.Listen("tcp","127.0.0.1:0")
 ll,err:=limit.NewListener(l, limit.DefaultConnConfig(), limit.WithConnFaults(s)); if err!=nil{t.Fatal(err)}
 put(t,s,fault.Rule{Point:"limit.accept",Error:&fault.Failure{}, Count:1})
 srv:=&http.Server{Handler:http.NotFoundHandler()}
 done:=make(chan error,1)
 go func(){done<-srv.Serve(ll)}()
 _,ge:=http.Get("http://"+l.Addr().String()); t.Log(ge); for _,p:=range s.Status().Points{t.Log(p.Name,p.Hits)}
 select{case e:=<-done: t.Log("Serve ended:",e); case <-time.After(time.Second): t.Log("lives")}
}
type drv struct{}
type cn struct{}
func (drv) Connect(context.Context)(driver.Conn,error){return cn{},nil}
func (drv) Driver() driver.Driver{return nil}
func (cn) Prepare(string)(driver.Stmt,error){return nil,driver.ErrSkip}
func (cn) Close()error{return nil}
func (cn) Begin()(driver.Tx,error){return cn{},nil}
func (cn) BeginTx(context.Context,driver.TxOptions)(driver.Tx,error){return cn{},nil}
func (cn) Commit()error{return nil}
func (cn) Rollback()error{return nil}
func TestCrashRollback(t *testing.T){
 s:=set(t)
 p:=s.Point(fault.Def{Name:"db.rollback",Effects:fault.Call})
 db:=sql.OpenDB(faultsql.Connector(drv{},faultsql.Points{Rollback:p}))
 put(t,s,fault.Rule{Point:"*",Panic:&fault.Panicking{}})
 ctx,cancel:=context.WithCancel(context.Background())
 _,err:=db.BeginTx(ctx,nil); t.Log(err)
 cancel(); time.Sleep(200*time.Millisecond)
}
func TestWriterDropForever(t *testing.T){
 s:=set(t)
 p:=s.Point(fault.Def{Name:"log.write",Effects:fault.Bytes})
 var b bytes.Buffer
 w:=faultfs.Writer(context.Background(),&b,p)
 put(t,s,fault.Rule{Point:"*",Drop:&fault.Drop{},Count:1})
 w.Write([]byte("a"))
 s.Remove(fault.Admin,"r"); s.Kill(fault.Admin,true)
 for range 100 { n,err:=w.Write([]byte("b")); if n!=1||err!=nil{t.Log(n,err)} }
 t.Logf("on %v got %q", p.On(), b.String())
}
func TestSkew(t *testing.T){
 by:=time.Duration(0)
 base:=clock.Exact()
 c:=clock.Skewed(base,func() time.Duration{return by})
 by=24*time.Hour; c.Now(); by=0
 a,b0:=c.Now(),base.Now(); time.Sleep(200*time.Millisecond); a2,b2:=c.Now(),base.Now()
 t.Log("ahead",time.Duration(a-b0),"speed",float64(a2-a)/float64(b2-b0))
}
func TestMultipart(t *testing.T){
 tmp:=t.TempDir(); t.Setenv("TMPDIR",tmp)
 s:=set(t)
 p:=s.Point(fault.Def{Name:"x.body",Attrs:[]string{"path"},Effects:fault.Call})
 mux:=http.NewServeMux()
 mux.HandleFunc("POST /up",func(w http.ResponseWriter,r *http.Request){ if err:=r.ParseMultipartForm(10);err!=nil{t.Error(err)}; e,_:=os.ReadDir(tmp); t.Log("in handler",len(e),"on",p.On()) })
 srv:=httptest.NewServer(faulthttp.Handler(mux,faulthttp.Points{Body:p})); defer srv.Close()
 send:=func(){ var b bytes.Buffer; m:=multipart.NewWriter(&b); f,_:=m.CreateFormFile("f","f"); io.Copy(f,strings.NewReader(strings.Repeat("x",11<<20))); m.Close()
  resp,err:=http.Post(srv.URL+"/up",m.FormDataContentType(),&b); if err!=nil{t.Error(err);return}; resp.Body.Close(); time.Sleep(50*time.Millisecond); e,_:=os.ReadDir(tmp); t.Log("left",len(e)) }
 send()
 put(t,s,fault.Rule{Point:"x.body",Where:map[string]string{"path":"/other"},Delay:&fault.Delay{Fixed:time.Nanosecond}})
 send(); send()
}
func TestStartDeadline(t *testing.T){
 s:=set(t)
 c:=limit.DefaultConfig()
 l,err:=limit.New(c,limit.WithFaults(s)); if err!=nil{t.Fatal(err)}
 pm,err:=l.Admit(time.Now().Add(100*time.Millisecond)); t.Log(err)
 put(t,s,fault.Rule{Point:"limit.acquire",Hang:&fault.Hang{}})
 done:=make(chan error,1)
 go func(){done<-pm.Start(context.Background())}()
 select{case e:=<-done:t.Log(e); case <-time.After(time.Second): t.Log("Start still hangs 0.9s past the deadline of Admit")}
}
func TestWriteClosed(t *testing.T){
 s:=set(t)
 p:=s.Point(fault.Def{Name:"x.w",Effects:fault.Bytes})
 a,b:=net.Pipe(); defer b.Close()
 c:=faultnet.Conn(a,faultnet.Points{Write:p}); c.Close()
 put(t,s,fault.Rule{Point:"x.w",Drop:&fault.Drop{}})
 fmt.Println(c.Write([]byte("x")))
}
func TestDropHijack(t *testing.T){
 s:=set(t); p:=s.Point(fault.Def{Name:"x.h",Effects:fault.Bytes})
 done:=make(chan error,2)
 srv:=httptest.NewServer(faulthttp.Handler(http.HandlerFunc(func(w http.ResponseWriter,r *http.Request){ rc:=http.NewResponseController(w); done<-rc.SetWriteDeadline(time.Now().Add(time.Second)); _,_,err:=rc.Hijack(); done<-err}),faulthttp.Points{Exchange:p})); defer srv.Close()
 put(t,s,fault.Rule{Point:"x.h",Drop:&fault.Drop{}})
 http.Get(srv.URL); t.Log(<-done,<-done)
}
