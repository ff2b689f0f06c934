//! Routers are replaced under load, and no request is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::Visibility;
use e2e::{ADMIN, Fake, FakeApp, Router, Sandbox, eventually};
use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

/// Stands where a Service would: new connections go to routers that are ready, those that are open stay where they are.
struct Balancer {
    address: SocketAddr,
    members: Arc<Mutex<Vec<Member>>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Member {
    address: SocketAddr,
    readiness: String,
    ready: bool,
}

impl Balancer {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let members: Arc<Mutex<Vec<Member>>> = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(follow_readiness(members.clone()));
        tasks.spawn(carry(listener, members.clone()));
        Ok(Self {
            address,
            members,
            _tasks: tasks,
        })
    }

    fn add(&self, router: &Router) {
        self.members.lock().push(Member {
            address: router.address(),
            readiness: format!("http://{}/readyz", router.internal_address()),
            ready: true,
        });
    }

    /// Waits until no new connection goes to this router.
    async fn withdrawn(&self, router: &Router) -> Result<()> {
        eventually("the router to be withdrawn", async || {
            let members = self.members.lock();
            let ready = members
                .iter()
                .any(|member| member.address == router.address() && member.ready);
            ensure!(!ready, "it still gets connections");
            Ok(())
        })
        .await
    }
}

/// As the kubelet and the endpoints' controller do together: with a delay.
async fn follow_readiness(members: Arc<Mutex<Vec<Member>>>) {
    let mut tick = interval(Duration::from_millis(500));
    loop {
        tick.tick().await;
        let mut seen = members.lock().clone();
        for member in &mut seen {
            let answer = reqwest::get(&member.readiness).await;
            member.ready = answer.is_ok_and(|answer| answer.status().is_success());
        }
        for member in members.lock().iter_mut() {
            if let Some(seen) = seen.iter().find(|seen| seen.address == member.address) {
                member.ready = seen.ready;
            }
        }
    }
}

async fn carry(listener: TcpListener, members: Arc<Mutex<Vec<Member>>>) {
    let mut connections = JoinSet::new();
    let mut turn = 0;
    while let Ok((mut near, _)) = listener.accept().await {
        turn += 1;
        let chosen = {
            let members = members.lock();
            let ready: Vec<_> = members.iter().filter(|member| member.ready).collect();
            ready
                .get(turn % ready.len().max(1))
                .map(|member| member.address)
        };
        connections.spawn(async move {
            if let Some(address) = chosen
                && let Ok(mut far) = TcpStream::connect(address).await
            {
                // Whoever ends it has its reasons.
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    lost: Mutex<Vec<String>>,
    next: AtomicUsize,
}

/// Asks again and again, over connections that are kept, or over a new one each time.
async fn ask(
    address: SocketAddr,
    keep: bool,
    tally: Arc<Tally>,
    enough: CancellationToken,
) -> Result<()> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .resolve("sales.localhost", address)
        .pool_max_idle_per_host(usize::from(keep))
        .build()?;
    while !enough.is_cancelled() {
        let number = tally.next.fetch_add(1, Ordering::Relaxed);
        let url = format!("http://sales.localhost:{}/{number}", address.port());
        let answer = async {
            let answer = client.get(&url).send().await?.error_for_status()?;
            answer.bytes().await
        };
        match answer.await {
            Ok(_) => drop(tally.answered.fetch_add(1, Ordering::Relaxed)),
            Err(error) => tally.lost.lock().push(format!("{number}: {error:?}")),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_are_replaced_under_load_and_no_request_is_lost() -> Result<()> {
    let sandbox = Sandbox::create("rolling").await?;
    let app = FakeApp::start().await?;
    let open = Fake {
        visibility: Visibility::Public,
        ..Fake::new("sales", ADMIN, app.address())
    };
    sandbox.fake(&open).await?;
    let balancer = Balancer::start().await?;
    let launch = || sandbox.router().flag("--leave-delay=3s");
    let mut routers = vec![launch().start().await?, launch().start().await?];
    for router in &routers {
        balancer.add(router);
    }

    let tally = Arc::new(Tally::default());
    let enough = CancellationToken::new();
    let mut load = JoinSet::new();
    for number in 0..8 {
        load.spawn(ask(
            balancer.address,
            number % 2 == 0,
            tally.clone(),
            enough.clone(),
        ));
    }
    let more = async |than: u64| {
        eventually("more requests to be answered", async || {
            let answered = tally.answered.load(Ordering::Relaxed);
            ensure!(answered > than, "{answered} so far");
            Ok(answered)
        })
        .await
    };
    let mut answered = more(100).await?;
    for _ in 0..2 {
        let new = launch().start().await?;
        balancer.add(&new);
        routers.push(new);
        let mut old = routers.remove(0);
        old.stop()?;
        balancer.withdrawn(&old).await?;
        let status = old.ended().await?;
        ensure!(status.success(), "it ended with {status}");
        answered = more(answered + 100).await?;
    }
    enough.cancel();
    while let Some(ended) = load.join_next().await {
        ended.context("the load broke")??;
    }
    let lost = tally.lost.lock();
    ensure!(
        lost.is_empty(),
        "{} of {answered} were lost: {lost:?}",
        lost.len()
    );
    ensure!(
        app.reached().len() as u64 >= answered,
        "some were answered by nobody"
    );
    sandbox.passed();
    Ok(())
}
