//! A small blocking HTTP/1.1 client: one connection per request, the answer read whole.
//!
//! Our own, so that a test says exactly what goes over the wire and sees exactly what came back; errors are
//! sentences, since all a test does with them is to show them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) fn get(server: SocketAddr, path: &str) -> Request {
    Request::new("GET", server, path)
}

pub(crate) fn put(server: SocketAddr, path: &str, body: &Value) -> Request {
    let mut request = Request::new("PUT", server, path);
    request.body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    request
}

/// A body that is no JSON.
pub(crate) fn put_text(server: SocketAddr, path: &str, body: &str) -> Request {
    let mut request = Request::new("PUT", server, path);
    body.clone_into(&mut request.body);
    request
}

#[derive(Clone)]
pub(crate) struct Request {
    server: SocketAddr,
    method: &'static str,
    path: String,
    host: String,
    body: String,
}

impl Request {
    fn new(method: &'static str, server: SocketAddr, path: &str) -> Self {
        let (path, host) = (path.to_owned(), server.to_string());
        Self {
            server,
            method,
            path,
            host,
            body: String::new(),
        }
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The same with another method.
    pub(crate) fn delete(mut self) -> Self {
        self.method = "DELETE";
        self
    }

    pub(crate) fn send(&self) -> Result<Answer, String> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            self.method, self.path, self.host
        );
        if !self.body.is_empty() || self.method == "PUT" {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("Connection: close\r\n\r\n");
        text.push_str(&self.body);
        let mut connection = connect(self.server)?;
        connection
            .write_all(text.as_bytes())
            .map_err(|error| format!("sending: {error}"))?;
        Answer::read(connection)
    }

    /// Sends and insists on 200; the body.
    pub(crate) fn ok(&self) -> Result<String, String> {
        let answer = self.send()?;
        let body = answer.body.trim();
        if answer.status == 200 {
            Ok(answer.body)
        } else {
            Err(format!("status {}: {body}", answer.status))
        }
    }

    /// Sends and insists on 200 with JSON.
    pub(crate) fn json(&self) -> Result<Value, String> {
        let body = self.ok()?;
        serde_json::from_str(&body).map_err(|error| format!("{error} in {body:?}"))
    }

    /// Sends and insists on a status.
    pub(crate) fn status(&self, wanted: u16) -> Result<Answer, String> {
        let answer = self.send()?;
        let body = answer.body.trim();
        let told = format!("status {}, wanted {wanted}: {body}", answer.status);
        if answer.status == wanted {
            Ok(answer)
        } else {
            Err(told)
        }
    }
}

/// A connection for tests that write the bytes themselves.
pub(crate) fn connect(server: SocketAddr) -> Result<TcpStream, String> {
    let connection = TcpStream::connect_timeout(&server, TIMEOUT).map_err(|e| format!("connecting: {e}"))?;
    let bounded = connection
        .set_read_timeout(Some(TIMEOUT))
        .and(connection.set_write_timeout(Some(TIMEOUT)));
    bounded.map_err(|error| format!("bounding: {error}"))?;
    Ok(connection)
}

/// The other side, as small as it gets: reads requests without bodies and answers each with 200.
pub(crate) fn answer_ok(mut connection: &TcpStream) -> Result<(), String> {
    let mut reader = BufReader::new(connection);
    loop {
        while !line(&mut reader)?.is_empty() {}
        let sent = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
        sent.map_err(|error| format!("answering: {error}"))?;
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(from: impl Read) -> Result<Self, String> {
        let mut reader = BufReader::new(from);
        let status_line = line(&mut reader)?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| format!("no status in {status_line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = line(&mut reader)?;
            match line.split_once(':') {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None if line.is_empty() => break,
                None => return Err(format!("not a header: {line:?}")),
            }
        }
        let mut answer = Self {
            status,
            headers,
            body: String::new(),
        };
        let body = answer.read_body(&mut reader)?;
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Ok(answer)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// A body shorter than it was announced is an error: that is how a cut answer shows.
    fn read_body(&self, reader: &mut impl BufRead) -> Result<Vec<u8>, String> {
        if self
            .header("transfer-encoding")
            .is_some_and(|coding| coding.ends_with("chunked"))
        {
            return read_chunks(reader);
        }
        match self.header("content-length").map(str::parse) {
            Some(Ok(length)) => exactly(reader, length),
            Some(Err(error)) => Err(format!("content-length: {error}")),
            None => {
                let mut body = Vec::new();
                reader
                    .read_to_end(&mut body)
                    .map_err(|error| format!("reading the body: {error}"))?;
                Ok(body)
            }
        }
    }
}

fn read_chunks(reader: &mut impl BufRead) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let size = line(reader)?;
        let size =
            usize::from_str_radix(&size, 16).map_err(|error| format!("chunk size {size:?}: {error}"))?;
        body.extend(exactly(reader, size)?);
        line(reader)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn exactly(reader: &mut impl BufRead, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; length];
    reader
        .read_exact(&mut bytes)
        .map_err(|error| format!("reading {length} bytes of body: {error}"))?;
    Ok(bytes)
}

fn line(reader: &mut impl BufRead) -> Result<String, String> {
    let mut text = Vec::new();
    let count = reader
        .read_until(b'\n', &mut text)
        .map_err(|error| format!("reading the answer: {error}"))?;
    if count == 0 {
        return Err("the connection was closed before the answer was complete".to_owned());
    }
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}
