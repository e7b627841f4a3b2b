//! A tree over a value. Go's rules of scope: a variable lives as long as the block that declares it, `$` is the whole.

use std::collections::BTreeMap;

use super::budget::{BYTES_A_STEP, Budget};
use super::parse::{Branch, List, Node, Operand, Pipe, Program};
use super::value::Value;
use super::{Error, MOST_CALLS, functions, within_limit};

/// So many names one behind the other, or variables that are looked through, count as one step.
const NAMES_A_STEP: usize = 16;

/// What `program` makes of `data`.
pub(super) fn run(program: &Program, data: &Value, budget: &mut Budget) -> Result<String, Error> {
    let mut run = Run {
        defined: &program.defined,
        output: String::new(),
        variables: vec![("", data.clone())],
        budget,
        calls: 0,
    };
    run.list(&program.main, data)?;
    Ok(run.output)
}

struct Run<'a, 'b> {
    defined: &'a BTreeMap<String, List>,
    output: String,
    /// Innermost last; names without their sign.
    variables: Vec<(&'a str, Value)>,
    budget: &'b mut Budget,
    calls: usize,
}

/// How a list ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl<'a> Run<'a, '_> {
    fn list(&mut self, list: &'a List, dot: &Value) -> Result<Flow, Error> {
        for node in list {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &'a Node, dot: &Value) -> Result<Flow, Error> {
        self.step()?;
        match node {
            Node::Text(text) => {
                self.output.push_str(text);
                within_limit(&self.output)?;
            }
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    value.print_alone(&mut self.output)?;
                }
            }
            Node::If(branch) => return self.branch(branch, dot, false),
            Node::With(branch) => return self.branch(branch, dot, true),
            Node::Range(branch) => return self.range(branch, dot),
            Node::Template(name, pipe) => self.template(name, pipe.as_ref(), dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn branch(&mut self, branch: &'a Branch, dot: &Value, moves_dot: bool) -> Result<Flow, Error> {
        let known = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let flow = match value.is_true() {
            true if moves_dot => self.list(&branch.then, &value),
            true => self.list(&branch.then, dot),
            false => self.list(&branch.otherwise, dot),
        };
        self.variables.truncate(known);
        flow
    }

    fn range(&mut self, branch: &'a Branch, dot: &Value) -> Result<Flow, Error> {
        let known = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let inside = self.variables.len();
        // Nothing is copied: who breaks off at the first has paid for one.
        let pairs: &mut dyn Iterator<Item = (Value, &Value)> = match &value {
            Value::List(values) => &mut (0..).map(Value::Int).zip(values.iter()),
            Value::Map(map) => &mut map
                .entries
                .iter()
                .map(|(key, value)| (Value::Text(key.clone()), value)),
            Value::Nil | Value::Missing => &mut std::iter::empty(),
            other => return Err(Error::new(format!("range cannot go over {}", other.kind()))),
        };
        let mut flow = Flow::On;
        if !value.is_true() {
            flow = self.list(&branch.otherwise, dot)?;
        }
        for (key, value) in pairs {
            self.step()?;
            self.loop_variables(&branch.pipe, key, value)?;
            let ended = self.list(&branch.then, value)?;
            self.variables.truncate(inside);
            if ended == Flow::Break {
                break;
            }
        }
        self.variables.truncate(known);
        Ok(flow)
    }

    /// The variables of a range take each element in turn: one takes the value, two the key and the value.
    fn loop_variables(&mut self, pipe: &'a Pipe, key: Value, value: &Value) -> Result<(), Error> {
        let values = match pipe.variables.len() {
            2 => vec![key, value.clone()],
            _ => vec![value.clone()],
        };
        for (name, value) in pipe.variables.iter().zip(values) {
            self.set(name, value, pipe.declares)?;
        }
        Ok(())
    }

    fn template(&mut self, name: &str, pipe: Option<&'a Pipe>, dot: &Value) -> Result<(), Error> {
        let Some(list) = self.defined.get(name) else {
            return Err(Error::new(format!("no template {name:?} is defined")));
        };
        let dot = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Missing,
        };
        self.calls += 1;
        if self.calls > MOST_CALLS {
            return Err(Error::new(format!(
                "more than {MOST_CALLS} templates within each other"
            )));
        }
        let outside = std::mem::replace(&mut self.variables, vec![("", dot.clone())]);
        self.list(list, &dot)?;
        self.variables = outside;
        self.calls -= 1;
        Ok(())
    }

    /// The value of the last command; a range's variables are left to it.
    fn pipe(&mut self, pipe: &'a Pipe, dot: &Value) -> Result<Value, Error> {
        let mut last = None;
        for command in &pipe.commands {
            self.step()?;
            last = Some(self.command(command, dot, last)?);
        }
        let value = last.unwrap_or(Value::Missing);
        if let [name] = &pipe.variables[..] {
            self.set(name, value.clone(), pipe.declares)?;
        }
        Ok(value)
    }

    fn command(&mut self, command: &'a [Operand], dot: &Value, last: Option<Value>) -> Result<Value, Error> {
        let Some((first, rest)) = command.split_first() else {
            return Err(Error::new("a value is missing"));
        };
        if let Operand::Function(name) = first {
            return self.call(name, rest, dot, last);
        }
        if !rest.is_empty() || last.is_some() {
            return Err(Error::new("only functions take arguments"));
        }
        match first {
            Operand::Nil => Err(Error::new("nil is no command")),
            first => self.operand(first, dot),
        }
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Value) -> Result<Value, Error> {
        Ok(match operand {
            Operand::Dot => dot.clone(),
            Operand::Nil => Value::Nil,
            Operand::Bool(value) => Value::Bool(*value),
            Operand::Int(value) => Value::Int(*value),
            Operand::Float(value) => Value::Float(*value),
            Operand::Text(text) => Value::text(text.as_str()),
            Operand::Field(names) => self.fields(dot.clone(), names)?,
            Operand::Variable(name, names) => {
                self.budget.spend(self.variables.len() / NAMES_A_STEP)?;
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = known.map(|(_, value)| value.clone());
                self.fields(value.unwrap_or(Value::Missing), names)?
            }
            Operand::Function(name) => self.call(name, &[], dot, None)?,
            Operand::Pipe(pipe) => self.pipe(pipe, dot)?,
            Operand::Chain(of, names) => {
                let value = self.operand(of, dot)?;
                self.fields(value, names)?
            }
        })
    }

    fn call(
        &mut self,
        name: &str,
        operands: &'a [Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, Error> {
        // These look at no more than they need.
        if name == "and" || name == "or" {
            let mut value = Value::Missing;
            for operand in operands {
                self.step()?;
                value = self.operand(operand, dot)?;
                if value.is_true() == (name == "or") {
                    return Ok(value);
                }
            }
            return match last {
                Some(last) => Ok(last),
                None if operands.is_empty() => Err(Error::new(format!("{name} wants arguments"))),
                None => Ok(value),
            };
        }
        let mut arguments = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(last);
        // A long text is as much work as many short ones.
        let size: usize = arguments.iter().map(Value::size).sum();
        self.budget.spend(1 + size / BYTES_A_STEP)?;
        let made = functions::call(name, &arguments, self.budget)?;
        self.budget.spend(made.size() / BYTES_A_STEP)?;
        Ok(made)
    }

    fn set(&mut self, name: &'a str, value: Value, declares: bool) -> Result<(), Error> {
        if declares {
            self.variables.push((name, value));
            return Ok(());
        }
        let known = self.variables.iter_mut().rev().find(|(known, _)| *known == name);
        match known {
            Some((_, known)) => {
                *known = value;
                Ok(())
            }
            None => Err(Error::new(format!("variable ${name} is not declared"))),
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        self.budget.spend(1)
    }

    fn fields(&mut self, value: Value, names: &[String]) -> Result<Value, Error> {
        self.budget.spend(names.len() / NAMES_A_STEP)?;
        names.iter().try_fold(value, |value, name| value.field(name))
    }
}
