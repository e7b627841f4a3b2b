//! Tokens to a tree, by the rules of Go's `text/template`. What is not known, a variable or a function, is found here.

use std::collections::BTreeMap;

use super::lex::{Token, lex};
use super::{Error, functions};

/// Brackets and blocks within each other, at most.
const DEEPEST: usize = 64;

/// What is done one after the other.
pub(super) type List = Vec<Node>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    /// `{{template "name" .}}`
    Template(String, Option<Pipe>),
    Break,
    Continue,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) then: List,
    pub(super) otherwise: List,
}

/// Commands, each given what the one before it has made; and the variables that take the result.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pipe {
    pub(super) variables: Vec<String>,
    /// `:=`, not `=`.
    pub(super) declares: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Function(String),
    Pipe(Box<Pipe>),
    /// `(…).Name`
    Chain(Box<Operand>, Vec<String>),
}

/// A whole template and those that are defined in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Program {
    pub(super) main: List,
    pub(super) defined: BTreeMap<String, List>,
}

/// The tree of `text`.
///
/// # Errors
/// What Go would not parse, and functions that we refuse.
pub(super) fn parse(text: &str) -> Result<Program, Error> {
    let mut tokens = lex(text)?;
    tokens.reverse();
    let mut parser = Parser {
        tokens,
        variables: vec![String::new()],
        defined: BTreeMap::new(),
        loops: 0,
        depth: 0,
    };
    let (main, end) = parser.list()?;
    if end != Ending::Whole {
        return Err(Error::new(format!("unexpected {{{{{}}}}}", end.word())));
    }
    let defined = parser.defined;
    Ok(Program { main, defined })
}

/// What ends a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Whole,
    End,
    Else,
    ElseIf,
}

impl Ending {
    fn word(self) -> &'static str {
        match self {
            Self::Whole => "nothing",
            Self::End => "end",
            Self::Else => "else",
            Self::ElseIf => "else if",
        }
    }
}

struct Parser {
    /// Those to come, the next one last.
    tokens: Vec<Token>,
    /// Known here; the first is `$`.
    variables: Vec<String>,
    defined: BTreeMap<String, List>,
    /// Ranges around what is read.
    loops: usize,
    depth: usize,
}

impl Parser {
    /// Up to the end of a block, whose braces are read as well.
    fn list(&mut self) -> Result<(List, Ending), Error> {
        let mut list = List::new();
        loop {
            match self.tokens.pop() {
                None => return Ok((list, Ending::Whole)),
                Some(Token::Text(text)) => list.push(Node::Text(text)),
                Some(_) => {
                    self.blanks();
                    match self.action()? {
                        Found::Node(node) => list.push(node),
                        Found::Nothing => {}
                        Found::End(end) => return Ok((list, end)),
                    }
                }
            }
        }
    }

    fn action(&mut self) -> Result<Found, Error> {
        let word = match self.tokens.last() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        let keyword = [
            "if", "with", "range", "template", "define", "block", "end", "else", "break", "continue",
        ];
        if !keyword.contains(&word.as_str()) {
            return Ok(Found::Node(Node::Action(self.pipe("an action", &Token::Close)?)));
        }
        self.tokens.pop();
        self.blanks();
        Ok(match word.as_str() {
            "if" => Found::Node(Node::If(self.branch("if")?)),
            "with" => Found::Node(Node::With(self.branch("with")?)),
            "range" => Found::Node(Node::Range(self.branch("range")?)),
            "template" => Found::Node(self.template()?),
            "define" => {
                self.define(false)?;
                Found::Nothing
            }
            "block" => Found::Node(self.define(true)?),
            "break" | "continue" => {
                self.close(&word)?;
                if self.loops == 0 {
                    return Err(Error::new(format!("{{{{{word}}}}} outside of a range")));
                }
                Found::Node(if word == "break" {
                    Node::Break
                } else {
                    Node::Continue
                })
            }
            "end" => {
                self.close("end")?;
                Found::End(Ending::End)
            }
            _ if self.tokens.last() == Some(&Token::Word("if".to_owned())) => {
                self.tokens.pop();
                self.blanks();
                Found::End(Ending::ElseIf)
            }
            _ => {
                self.close("else")?;
                Found::End(Ending::Else)
            }
        })
    }

    fn branch(&mut self, word: &'static str) -> Result<Branch, Error> {
        self.deeper()?;
        let known = self.variables.len();
        let pipe = self.pipe(word, &Token::Close)?;
        self.loops += usize::from(word == "range");
        let (then, end) = self.list()?;
        self.loops -= usize::from(word == "range");
        let otherwise = match end {
            Ending::End => List::new(),
            Ending::Else => match self.list()? {
                (list, Ending::End) => list,
                (_, end) => {
                    return Err(Error::new(format!(
                        "expected {{{{end}}}} behind {{{{else}}}}, found {}",
                        end.word()
                    )));
                }
            },
            Ending::ElseIf if word == "if" => vec![Node::If(self.branch("if")?)],
            end => return Err(Error::new(format!("{{{{{word}}}}} ends with {}", end.word()))),
        };
        self.variables.truncate(known);
        self.depth -= 1;
        Ok(Branch {
            pipe,
            then,
            otherwise,
        })
    }

    fn template(&mut self) -> Result<Node, Error> {
        let name = self.name("template")?;
        self.blanks();
        if self.tokens.last() == Some(&Token::Close) {
            self.tokens.pop();
            return Ok(Node::Template(name, None));
        }
        Ok(Node::Template(name, Some(self.pipe("template", &Token::Close)?)))
    }

    /// `{{define "name"}}`, and `{{block "name" pipe}}`, which is used where it stands.
    fn define(&mut self, is_block: bool) -> Result<Node, Error> {
        if !is_block && self.depth > 0 {
            return Err(Error::new("{{define}} inside of another block"));
        }
        self.deeper()?;
        let word = if is_block { "block" } else { "define" };
        let name = self.name(word)?;
        self.blanks();
        let pipe = match is_block {
            true => Some(self.pipe(word, &Token::Close)?),
            false => {
                self.close(word)?;
                None
            }
        };
        let outside = std::mem::replace(&mut self.variables, vec![String::new()]);
        let loops = std::mem::take(&mut self.loops);
        let (list, end) = self.list()?;
        (self.variables, self.loops) = (outside, loops);
        self.depth -= 1;
        if end != Ending::End {
            return Err(Error::new(format!("{{{{{word}}}}} has no {{{{end}}}}")));
        }
        self.defined.insert(name.clone(), list);
        Ok(Node::Template(name, pipe))
    }

    fn name(&mut self, of: &str) -> Result<String, Error> {
        match self.tokens.pop() {
            Some(Token::Quoted(name)) => Ok(name),
            _ => Err(Error::new(format!("{{{{{of}}}}} wants a quoted name"))),
        }
    }

    fn pipe(&mut self, context: &str, end: &Token) -> Result<Pipe, Error> {
        self.deeper()?;
        self.blanks();
        let (variables, declares) = self.assigned(context)?;
        let mut commands = Vec::new();
        loop {
            self.blanks();
            let command = self.command(end)?;
            if command.is_empty() {
                return Err(Error::new(format!("{context} lacks a value")));
            }
            let runs = matches!(
                command[0],
                Operand::Field(_) | Operand::Variable(..) | Operand::Function(_) | Operand::Chain(..)
            );
            if !commands.is_empty() && !runs {
                return Err(Error::new("what stands behind | must be something to call"));
            }
            commands.push(command);
            match self.tokens.pop() {
                Some(Token::Pipe) => {}
                Some(token) if token == *end => break,
                _ => return Err(Error::new(format!("{context} does not end as it should"))),
            }
        }
        // Not known within its own value.
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        self.depth -= 1;
        Ok(Pipe {
            variables,
            declares,
            commands,
        })
    }

    /// `$x :=`, `$x =` or, for a range, `$i, $x :=`.
    fn assigned(&mut self, context: &str) -> Result<(Vec<String>, bool), Error> {
        let ahead: Vec<&Token> = self
            .tokens
            .iter()
            .rev()
            .filter(|token| **token != Token::Space)
            .take(4)
            .collect();
        let (variables, sign) = match ahead[..] {
            [Token::Variable(one), sign @ (Token::Declare | Token::Assign), ..] => (vec![one.clone()], sign),
            [
                Token::Variable(one),
                Token::Comma,
                Token::Variable(two),
                sign @ (Token::Declare | Token::Assign),
            ] if context == "range" => (vec![one.clone(), two.clone()], sign),
            _ => return Ok((Vec::new(), false)),
        };
        let declares = *sign == Token::Declare;
        while let Some(token) = self.tokens.pop() {
            if matches!(token, Token::Declare | Token::Assign) {
                break;
            }
        }
        let unknown = variables
            .iter()
            .find(|name| !declares && !self.variables.contains(name));
        match unknown {
            Some(name) => Err(Error::new(format!("variable ${name} is not declared"))),
            None => Ok((variables, declares)),
        }
    }

    /// Operands up to a pipe or the end, which stay.
    fn command(&mut self, end: &Token) -> Result<Vec<Operand>, Error> {
        let mut operands = Vec::new();
        loop {
            self.blanks();
            let done = match self.tokens.last() {
                None => return Err(Error::new("an action has no end")),
                Some(token) => *token == Token::Pipe || token == end,
            };
            if done {
                return Ok(operands);
            }
            operands.push(self.operand()?);
            let apart = match self.tokens.last() {
                Some(token) => matches!(token, Token::Space | Token::Pipe) || token == end,
                None => true,
            };
            if !apart {
                return Err(Error::new("operands must be apart"));
            }
        }
    }

    fn operand(&mut self) -> Result<Operand, Error> {
        let operand = match self.tokens.pop() {
            Some(Token::Dot) => Operand::Dot,
            Some(Token::Int(value)) => Operand::Int(value),
            Some(Token::Float(value)) => Operand::Float(value),
            Some(Token::Quoted(text)) => Operand::Text(text),
            Some(Token::Field(name)) => Operand::Field(vec![name]),
            Some(Token::Variable(name)) => {
                if !self.variables.contains(&name) {
                    return Err(Error::new(format!("variable ${name} is not declared")));
                }
                Operand::Variable(name, Vec::new())
            }
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Operand::Bool(true),
                "false" => Operand::Bool(false),
                "nil" => Operand::Nil,
                _ => {
                    functions::known(&word)?;
                    Operand::Function(word)
                }
            },
            Some(Token::Left) => {
                let pipe = self.pipe("a bracket", &Token::Right)?;
                Operand::Pipe(Box::new(pipe))
            }
            _ => return Err(Error::new("a value is missing")),
        };
        self.chained(operand)
    }

    /// The fields that follow without a blank.
    fn chained(&mut self, operand: Operand) -> Result<Operand, Error> {
        let mut names = Vec::new();
        while let Some(Token::Field(name)) = self.tokens.last() {
            names.push(name.clone());
            self.tokens.pop();
        }
        if names.is_empty() {
            return Ok(operand);
        }
        Ok(match operand {
            Operand::Field(mut before) => {
                before.append(&mut names);
                Operand::Field(before)
            }
            Operand::Variable(name, _) => Operand::Variable(name, names),
            Operand::Bool(_)
            | Operand::Int(_)
            | Operand::Float(_)
            | Operand::Text(_)
            | Operand::Nil
            | Operand::Dot => {
                return Err(Error::new(format!("unexpected .{} behind a constant", names[0])));
            }
            other => Operand::Chain(Box::new(other), names),
        })
    }

    fn close(&mut self, word: &str) -> Result<(), Error> {
        self.blanks();
        match self.tokens.pop() {
            Some(Token::Close) => Ok(()),
            _ => Err(Error::new(format!("{{{{{word}}}}} stands alone in its braces"))),
        }
    }

    fn blanks(&mut self) {
        while self.tokens.last() == Some(&Token::Space) {
            self.tokens.pop();
        }
    }

    fn deeper(&mut self) -> Result<(), Error> {
        self.depth += 1;
        match self.depth {
            ..=DEEPEST => Ok(()),
            _ => Err(Error::new(format!(
                "more than {DEEPEST} blocks and brackets within each other"
            ))),
        }
    }
}

enum Found {
    Node(Node),
    End(Ending),
    /// A definition, which does nothing where it stands.
    Nothing,
}
