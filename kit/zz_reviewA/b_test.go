package zz
import ("testing";"time";"context";"database/sql";"database/sql/driver";"errors";"os";"io";"syscall"
 "github.com/dougong-io/dougong/kit/fault"
 "github.com/dougong-io/dougong/kit/fault/faultsql"
 "github.com/dougong-io/dougong/kit/fault/faultfs"
 "github.com/dougong-io/dougong/kit/lifecycle"
)
type sk struct{ fail *bool; n *int }
func (d sk) Connect(context.Context)(driver.Conn,error){return d,nil}
func (sk) Driver() driver.Driver{return nil}
func (d sk) Prepare(string)(driver.Stmt,error){ if *d.fail {return nil,errors.New("cannot prepare")}; return d,nil}
func (sk) Close()error{return nil}
func (sk) NumInput() int{return -1}
func (d sk) Exec([]driver.Value)(driver.Result,error){*d.n++;return driver.ResultNoRows,nil}
func (sk) Query([]driver.Value)(driver.Rows,error){return nil,io.EOF}
func (sk) Begin()(driver.Tx,error){return nil,nil}
func (sk) ExecContext(context.Context,string,[]driver.NamedValue)(driver.Result,error){return nil,driver.ErrSkip}
func TestStalePassage(t *testing.T){
 s:=set(t); fail:=true; n:=0
 p:=s.Point(fault.Def{Name:"db.exec",Effects:fault.Call|fault.Lose})
 db:=sql.OpenDB(faultsql.Connector(sk{&fail,&n},faultsql.Points{Exec:p})); db.SetMaxOpenConns(1)
 put(t,s,fault.Rule{Point:"db.exec",Drop:&fault.Drop{},Count:1})
 _,err:=db.Exec("insert"); t.Log(err)
 s.Kill(fault.Admin,true); fail=false
 _,err=db.Exec("insert"); t.Log("kill switch thrown; on:",p.On(),"err:",err)
}
func TestStartHangStop(t *testing.T){
 s:=set(t)
 put(t,s,fault.Rule{Point:"lifecycle.start",Hang:&fault.Hang{}})
 g,err:=lifecycle.NewGroup("g",lifecycle.DefaultConfig(),[]lifecycle.Member{{Name:"m",Run:func(ctx context.Context,ready func())error{ready();<-ctx.Done();return nil}}},lifecycle.WithFaults(s))
 if err!=nil{t.Fatal(err)}
 ctx,cancel:=context.WithCancel(context.Background()); time.AfterFunc(100*time.Millisecond,cancel)
 t.Log(g.Run(ctx))
}
func TestFifo(t *testing.T){
 s:=set(t); dir:=t.TempDir(); syscall.Mkfifo(dir+"/f",0o600)
 p:=s.Point(fault.Def{Name:"x.open",Effects:fault.Fail|fault.Mangle})
 go func(){f,_:=os.OpenFile(dir+"/f",os.O_WRONLY,0);f.Write([]byte("hello"));f.Close()}()
 put(t,s,fault.Rule{Point:"x.open",Corrupt:&fault.Corrupt{}})
 b,err:=faultfs.NewDisk(faultfs.Points{Open:p}).ReadFile(dir+"/f"); t.Log(string(b),err)
}
