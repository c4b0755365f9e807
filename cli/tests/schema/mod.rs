//! Compares objects with the schema in docs/. It knows the keywords that the schema uses, and takes
//! any other one for a mistake.

use serde_json::Value;

const SCHEMA: &str = include_str!("../../../docs/operating.schema.json");

/// Checks a line of a command's output.
#[track_caller]
pub(crate) fn check(command: &str, line: &Value) {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let definition = &schema["$defs"][command];
    assert!(definition.is_object(), "the schema has nothing on {command}");
    if let Err(reason) = matches(definition, line) {
        panic!("{reason}: {line}");
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}

fn matches(schema: &Value, value: &Value) -> Result<(), String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let object = value.as_object();
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "type" if !list(rule).iter().any(|kind| is(value, kind.as_str().unwrap())) => {
                return Err(format!("{value} is no {rule}"));
            }
            "const" if rule != value => return Err(format!("{value} is not {rule}")),
            "enum" if !list(rule).contains(value) => return Err(format!("{value} is none of {rule}")),
            "required" => {
                let missing =
                    |key: &Value| !object.is_some_and(|object| object.contains_key(key.as_str().unwrap()));
                if let Some(key) = list(rule).into_iter().find(missing) {
                    return Err(format!("the key {key} is missing"));
                }
            }
            "properties" => {
                for (key, value) in object.into_iter().flatten() {
                    if let Some(schema) = rule.get(key) {
                        matches(schema, value).map_err(|reason| format!("{key}: {reason}"))?;
                    }
                }
            }
            "additionalProperties" if rule == false => {
                let known = &schema["properties"];
                if let Some(key) =
                    object.into_iter().flatten().map(|(key, _)| key).find(|key| known.get(key).is_none())
                {
                    return Err(format!("the key {key:?} is not described"));
                }
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    matches(rule, item)?;
                }
            }
            "oneOf" => {
                let results: Vec<_> = list(rule).iter().map(|schema| matches(schema, value)).collect();
                if results.iter().filter(|result| result.is_ok()).count() != 1 {
                    return Err(format!("not exactly one form fits: {results:?}"));
                }
            }
            "type" | "const" | "enum" | "additionalProperties" => {}
            other => panic!("{other} is not checked"),
        }
    }
    Ok(())
}
