//! Pure: the flat schema of a module's settings (files §4, `configSchema`).

use crate::manifest::Problem;
use crate::manifest::fields::{Object, object, optional, required, string, strings, wrong};
use serde_json::Value;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    String,
    Number,
    Integer,
    Boolean,
}

/// Checks that the schema is one that a settings page can be made from.
pub(super) fn check(schema: &Value) -> Result<(), Problem> {
    let schema = object(schema, "")?;
    let kind = required(schema, "type")?;
    if kind != "object" {
        return Err(wrong("type", "\"object\"", kind));
    }
    let none = Object::new();
    let properties = optional(schema, "properties", object)?.unwrap_or(&none);
    for (name, rules) in properties {
        property(rules).map_err(|problem| problem.within(name).within("properties"))?;
    }
    for (index, name) in optional(schema, "required", strings)?.into_iter().flatten().enumerate() {
        if !properties.contains_key(&name) {
            return Err(Problem::new(format!("required[{index}]"), format!("{name:?} is not among the properties")));
        }
    }
    Ok(())
}

fn property(rules: &Value) -> Result<(), Problem> {
    let rules = object(rules, "")?;
    let kind = kind(required(rules, "type")?)?;
    optional(rules, "description", string)?;
    if let Some(default) = rules.get("default")
        && !(default.is_string() || default.is_number() || default.is_boolean())
    {
        return Err(wrong("default", "a string, a number or a boolean", default));
    }
    let Some(choices) = rules.get("enum") else { return Ok(()) };
    if kind == Type::Boolean {
        return Err(Problem::new("enum", "is not for a boolean"));
    }
    match choices.as_array() {
        Some(items) if !items.is_empty() => match items.iter().find(|item| !kind.holds(item)) {
            Some(item) => Err(wrong("enum", "values of the property's type", item)),
            None => Ok(()),
        },
        _ => Err(wrong("enum", "an array that is not empty", choices)),
    }
}

fn kind(value: &Value) -> Result<Type, Problem> {
    match value.as_str() {
        Some("string") => Ok(Type::String),
        Some("number") => Ok(Type::Number),
        Some("integer") => Ok(Type::Integer),
        Some("boolean") => Ok(Type::Boolean),
        _ => Err(wrong("type", "\"string\", \"number\", \"integer\" or \"boolean\"", value)),
    }
}

impl Type {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            Self::Boolean => value.is_boolean(),
        }
    }
}
