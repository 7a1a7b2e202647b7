//! Tables of the audit, in the database of every service.

use crate::table;

table!(
    /// Table `audit_hospital`.
    audit_hospital_row, "audit_hospital", {
        #[sea_orm(primary_key, auto_increment = false)]
        pub hospital_id: String,
        pub created_at: TimeDateTimeWithTimeZone,
    }
);

table!(
    /// Table `audit_head`.
    audit_head_row, "audit_head", {
        #[sea_orm(primary_key, auto_increment = false)]
        pub hospital_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub shard: i32,
        pub sequence: i64,
        pub hash: Vec<u8>,
        pub mac: String,
    }
);

table!(
    /// Table `audit_entry`.
    audit_entry_row, "audit_entry", {
        #[sea_orm(primary_key, auto_increment = false)]
        pub hospital_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub shard: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub sequence: i64,
        pub at_us: i64,
        pub actor: String,
        pub action: String,
        pub resource_kind: String,
        pub resource_id: Option<Uuid>,
        pub purpose: String,
        pub trace_id: Option<String>,
        pub outcome: String,
        pub detail: String,
        pub previous_hash: Vec<u8>,
        pub hash: Vec<u8>,
    }
);
