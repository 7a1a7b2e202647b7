//! Tables.

use neurotriage_service_kit::table;

table!(
    /// Table `patient`.
    patient_row, "patient", {
        #[sea_orm(primary_key, auto_increment = false)]
        pub patient_id: Uuid,
        pub hospital_id: String,
        pub request_id: Uuid,
        pub request_mac: Option<String>,
        pub revision: i64,
        pub created_at: TimeDateTimeWithTimeZone,
        pub updated_at: TimeDateTimeWithTimeZone,
        pub deleted_at: Option<TimeDateTimeWithTimeZone>,
        pub erased_at: Option<TimeDateTimeWithTimeZone>,
        pub merged_into: Option<Uuid>,
        pub merged_patient_ids: Json,
        pub content: Option<String>,
    }
);

table!(
    /// Table `entry`.
    entry_row, "entry", {
        #[sea_orm(primary_key, auto_increment = false)]
        pub entry_id: Uuid,
        pub hospital_id: String,
        pub patient_id: Uuid,
        pub kind: String,
        pub request_id: Uuid,
        pub request_mac: Option<String>,
        pub revision: i64,
        pub created_at: TimeDateTimeWithTimeZone,
        pub updated_at: TimeDateTimeWithTimeZone,
        pub deleted_at: Option<TimeDateTimeWithTimeZone>,
        pub erased_at: Option<TimeDateTimeWithTimeZone>,
        pub content: Option<String>,
    }
);

table!(
    /// Table `search_token`.
    search_token_row, "search_token", {
        #[sea_orm(primary_key, auto_increment = false)]
        pub hospital_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub kind: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub token: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub record_id: Uuid,
        pub patient_id: Uuid,
    }
);

table!(
    /// Table `change`.
    change_row, "change", {
        #[sea_orm(primary_key)]
        pub sequence: i64,
        pub transaction_id: i64,
        pub hospital_id: String,
        pub kind: String,
        pub record_id: Uuid,
        pub patient_id: Uuid,
        pub action: String,
        pub revision: i64,
        pub changed_at: TimeDateTimeWithTimeZone,
    }
);
