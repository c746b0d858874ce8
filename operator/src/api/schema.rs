//! What the generated schema needs before an API server takes it gladly.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use schemars::{Schema, SchemaGenerator, json_schema};

/// The formats that an API server knows; it warns about others at each `kubectl apply`.
const KNOWN_FORMATS: [&str; 5] = ["int32", "int64", "double", "date-time", "byte"];

/// Schema of a field that takes any keys.
pub(super) fn free_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Schema of quantities by resource name: `cpu: 500m`, `memory: 1Gi`.
pub(super) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "maxLength": 32,
            "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
        },
    })
}

/// Schema of annotations.
pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 16384},
    })
}

/// Schema of labels.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "maxProperties": 64,
        "additionalProperties": {
            "type": "string", "maxLength": 63, "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        },
    })
}

/// Schema of a number of pods or a share of them: `1`, `25%`.
pub(super) fn count_or_percent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true, "minimum": 0, "maxLength": 4, "pattern": r"^(100|[1-9]?[0-9])%$",
    })
}

/// Schema of a range of addresses.
pub(super) fn cidr(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string", "minLength": 3, "maxLength": 43, "pattern": r"^[0-9a-fA-F:.]+/[0-9]{1,3}$",
        "x-kubernetes-validations": [{"rule": "isCIDR(self)", "message": "not a range of addresses: write one such as 10.0.0.0/8"}],
    })
}

/// Schema of ranges of addresses.
pub(super) fn cidrs(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "minItems": 1, "maxItems": 64, "items": cidr(generator)})
}

/// Schema of an object that this definition does not describe: the operator checks it against Kubernetes' own.
pub(super) fn foreign(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// `definition` with every `null` refused, unknown formats dropped and an absent spec read as an empty one.
///
/// A rule such as `has(self.version)` is true for a `null`, so an optional field must be absent, not null.
pub(super) fn tidy(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        tidy_schema(root);
        if let Some(spec) = root
            .properties
            .as_mut()
            .and_then(|properties| properties.get_mut("spec"))
            .filter(|spec| spec.required.is_none())
        {
            spec.default = Some(JSON(serde_json::json!({})));
        }
    }
    definition
}

fn tidy_schema(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema
        .format
        .take_if(|format| !KNOWN_FORMATS.contains(&format.as_str()));
    schema
        .properties
        .iter_mut()
        .flatten()
        .for_each(|(_, property)| tidy_schema(property));
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy_schema(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy_schema),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy_schema(values);
    }
}
