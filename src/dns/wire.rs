//! Packets: bytes of a query in, bytes of a reply out, never longer than the asker can take.
//!
//! Owns what the protocol says of malformed queries, EDNS and truncation. Must not panic whatever
//! the bytes are, and must not reply to a reply: two servers would do so for ever.

use std::net::IpAddr;

use catalog::State;
use hickory_proto::ProtoError;
use hickory_proto::op::{
    Edns, Header, HeaderCounts, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
};
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};
use rand::Rng;

use super::answer::{Answers, answer};
use super::name::Zone;

/// The longest datagram we read and say we read.
pub const LARGEST_DATAGRAM: u16 = 4096;
/// The longest that we send to those who asked for as much: what HAProxy takes at most, which is
/// what its users configure and which forgets servers that a truncated reply leaves out.
const LARGEST_TO_NEIGHBOURS: u16 = 8192;
/// What everybody can take, and what those get who do not say.
const SMALLEST: u16 = 512;
/// What gets through the internet in one piece; larger replies to strangers also make us a
/// better amplifier.
const LARGEST_TO_STRANGERS: u16 = 1232;
/// Name (the root), type, class, TTL, length: an OPT record without options.
const OPT_LEN: u16 = 11;
const HEADER_LEN: usize = 12;

/// How a query arrived, which bounds the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram from this address.
    Udp(IpAddr),
    /// A stream, where only the length prefix bounds a message.
    Tcp,
}

impl Transport {
    fn limit(self, edns: Option<&Edns>) -> u16 {
        let Self::Udp(peer) = self else {
            return u16::MAX;
        };
        let largest = if is_near(peer) {
            LARGEST_TO_NEIGHBOURS
        } else {
            LARGEST_TO_STRANGERS
        };
        edns.map_or(SMALLEST, |edns| edns.max_payload().clamp(SMALLEST, largest))
    }
}

/// A reply, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// As they go out.
    pub bytes: Vec<u8>,
    /// What the reply says, for those who count.
    pub code: ResponseCode,
    /// Whether answers were left out.
    pub truncated: bool,
}

/// The reply to a query, or `None` where silence is the only right answer: a packet that is not
/// even a header, or that is a reply itself.
pub fn reply(
    zone: &Zone,
    state: &State,
    query: &[u8],
    transport: Transport,
    rng: &mut impl Rng,
) -> Option<Packet> {
    let asked = Header::read(&mut BinDecoder::new(query.get(..HEADER_LEN)?))
        .ok()?
        .metadata;
    if asked.message_type == MessageType::Response {
        return None;
    }
    let mut head = Metadata::response_from_request(&asked);
    if asked.op_code != OpCode::Query {
        head.response_code = ResponseCode::NotImp;
        return encode(Reply::bare(head), SMALLEST);
    }
    let message = Message::from_vec(query).ok();
    let Some((question, edns)) = message.as_ref().and_then(only_question) else {
        head.response_code = ResponseCode::FormErr;
        return encode(Reply::bare(head), SMALLEST);
    };
    let known_version = edns.is_none_or(|edns| edns.version() == 0);
    let answers = if known_version {
        answer(zone, state, question, rng)
    } else {
        Answers::of(ResponseCode::BADVERS)
    };
    head.response_code = answers.code;
    head.authoritative = known_version && answers.code != ResponseCode::Refused;
    let reply = Reply {
        head,
        question: Some(question),
        answers,
        edns: edns.is_some(),
    };
    encode(reply, transport.limit(edns))
}

fn only_question(message: &Message) -> Option<(&Query, Option<&Edns>)> {
    match message.queries.as_slice() {
        [question] => Some((question, message.edns.as_ref())),
        _ => None,
    }
}

struct Reply<'a> {
    head: Metadata,
    question: Option<&'a Query>,
    answers: Answers,
    /// Those who speak EDNS are answered in it.
    edns: bool,
}

impl Reply<'_> {
    fn bare(head: Metadata) -> Self {
        Self {
            answers: Answers::of(head.response_code),
            head,
            question: None,
            edns: false,
        }
    }
}

/// Writes whole records until the limit. Records that come as an extra are the first to go and
/// nobody is told, as RFC 2181 (9) wants: they can be asked for. Where an answer is missing the
/// reply says so, and the asker comes back over TCP.
fn encode(mut reply: Reply<'_>, limit: u16) -> Option<Packet> {
    let mut bytes = Vec::with_capacity(usize::from(SMALLEST));
    let head = write(&mut reply, limit, &mut bytes)
        .inspect_err(|error| tracing::warn!(%error, "a DNS reply could not be encoded"))
        .ok()?;
    Some(Packet {
        bytes,
        code: head.response_code,
        truncated: head.truncation,
    })
}

fn write(reply: &mut Reply<'_>, limit: u16, bytes: &mut Vec<u8>) -> Result<Metadata, ProtoError> {
    let Reply {
        head,
        question,
        answers,
        edns,
    } = reply;
    let mut encoder = BinEncoder::new(bytes);
    encoder.set_max_size(if *edns { limit - OPT_LEN } else { limit });
    let place = encoder.place::<Header>()?;
    let mut counts = HeaderCounts::default();
    if let Some(question) = question {
        question.emit(&mut encoder)?;
        counts.queries = 1;
    }
    counts.answers = fill(&mut encoder, &answers.answers)?;
    counts.authorities = fill(&mut encoder, &answers.authorities)?;
    head.truncation = usize::from(counts.answers) < answers.answers.len()
        || usize::from(counts.authorities) < answers.authorities.len();
    if !head.truncation {
        counts.additionals = fill(&mut encoder, &answers.additionals)?;
    }
    if *edns {
        let mut ours = Edns::new();
        ours.set_max_payload(LARGEST_DATAGRAM)
            .set_rcode_high(head.response_code.high());
        encoder.set_max_size(limit);
        Record::from(&ours).emit(&mut encoder)?;
        counts.additionals += 1;
    }
    let metadata = *head;
    place.replace(&mut encoder, Header { metadata, counts })?;
    Ok(metadata)
}

/// Writes as many whole records as there is room for, and says how many.
fn fill(encoder: &mut BinEncoder<'_>, records: &[Record]) -> Result<u16, ProtoError> {
    // No message holds as many: the shortest record takes eleven bytes of at most 65535.
    let written = match encoder.emit_all(records.iter().take(usize::from(u16::MAX) - 1)) {
        Ok(count) | Err(ProtoError::NotAllRecordsWritten { count, .. }) => count,
        Err(error) => return Err(error),
    };
    // The encoder steps back over a record that did not fit, but leaves its first bytes behind.
    encoder.trim();
    Ok(u16::try_from(written).expect("at most 65534 were taken"))
}

/// On this machine or in a private network.
fn is_near(peer: IpAddr) -> bool {
    match peer.to_canonical() {
        IpAddr::V4(peer) => peer.is_loopback() || peer.is_private() || peer.is_link_local(),
        IpAddr::V6(peer) => peer.is_loopback() || peer.is_unique_local() || peer.is_unicast_link_local(),
    }
}
