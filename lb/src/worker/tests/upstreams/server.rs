//! A server of HTTP/2, over TLS or not, that counts connections and can take leave of them.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::worker::tests::h2::Body;

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Service = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;

pub(in crate::worker::tests) struct H2Server {
    pub addr: SocketAddr,
    /// Open now, opened in all.
    open: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
    leave: watch::Sender<u64>,
    streams: u32,
}

impl H2Server {
    pub fn start<F>(answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::with(None, 100, answer)
    }

    pub fn with<F>(
        tls: Option<rustls::ServerConfig>,
        streams: u32,
        answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = Self {
            addr: listener.local_addr().unwrap(),
            open: Arc::default(),
            opened: Arc::default(),
            leave: watch::Sender::new(0),
            streams,
        };
        let service: Service = Arc::new(move |request| Box::pin(answer(request)));
        let (open, opened, leave) = (server.open.clone(), server.opened.clone(), server.leave.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
                while let Ok((stream, _)) = listener.accept().await {
                    opened.fetch_add(1, SeqCst);
                    open.fetch_add(1, SeqCst);
                    let (open, service, leave) = (open.clone(), service.clone(), leave.subscribe());
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        match acceptor {
                            None => serve(stream, service, leave, streams).await,
                            Some(acceptor) => {
                                if let Ok(stream) = acceptor.accept(stream).await {
                                    serve(stream, service, leave, streams).await;
                                }
                            }
                        }
                        open.fetch_sub(1, SeqCst);
                    });
                }
            });
        });
        server
    }

    pub fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    pub fn opened(&self) -> usize {
        self.opened.load(SeqCst)
    }

    /// Says GOAWAY on every connection.
    pub fn leave(&self) {
        self.leave.send_modify(|times| *times += 1);
    }

    pub fn streams(&self) -> u32 {
        self.streams
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: Service,
    mut leave: watch::Receiver<u64>,
    streams: u32,
) {
    let service = service_fn(move |request| {
        let answering = service(request);
        async move { Ok::<_, std::convert::Infallible>(answering.await) }
    });
    let mut connection = std::pin::pin!(
        http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(streams)
            .serve_connection(TokioIo::new(stream), service)
    );
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            Ok(()) = leave.changed() => connection.as_mut().graceful_shutdown(),
        }
    }
}
