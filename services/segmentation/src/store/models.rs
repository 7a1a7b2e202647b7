//! Models and promotions in a database: PostgreSQL or SQLite.

use std::error::Error;

use neurotriage_service_kit::database::is_away;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, SqlErr, sea_query::Expr,
};

use crate::registry::{
    ModelId, ModelStore, Promotion, PromotionKind, RegistryError, StoredModel, Verdict,
};

/// Table `model`.
pub mod model_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "model")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub model_id: String,
        pub weights_sha256: String,
        pub weights_size_bytes: i64,
        pub card_digest: String,
        pub card_json: String,
        pub licence: String,
        pub created_at: TimeDateTimeWithTimeZone,
        pub state: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `model_promotion`.
pub mod promotion_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "model_promotion")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub sequence: i64,
        pub kind: String,
        pub model_id: Option<String>,
        pub below: Option<i64>,
        pub created_at: TimeDateTimeWithTimeZone,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// [`ModelStore`] over a connection pool.
#[derive(Clone, Debug)]
pub struct SqlModelStore {
    db: DatabaseConnection,
}

impl SqlModelStore {
    /// Stores in `db`, which must be migrated.
    pub fn new(db: DatabaseConnection) -> Self {
        Self { db }
    }
}

fn failed<E: Error + Send + Sync + 'static>(
    operation: &'static str,
) -> impl Fn(E) -> RegistryError {
    move |error| {
        let source: Box<dyn Error + Send + Sync> = Box::new(error);
        if source.downcast_ref().is_some_and(is_away) {
            RegistryError::Unavailable { operation, source }
        } else {
            RegistryError::Store { operation, source }
        }
    }
}

impl ModelStore for SqlModelStore {
    async fn find_model(&self, model_id: &ModelId) -> Result<Option<StoredModel>, RegistryError> {
        let row = model_row::Entity::find_by_id(model_id.as_str())
            .one(&self.db)
            .await
            .map_err(failed("read model"))?;
        row.map(model).transpose()
    }

    async fn insert_model(&self, model: &StoredModel) -> Result<bool, RegistryError> {
        let weights_size_bytes =
            i64::try_from(model.weights_size_bytes).map_err(failed("encode model row"))?;
        let row = model_row::ActiveModel {
            model_id: Set(model.model_id.to_string()),
            weights_sha256: Set(model.weights.to_string()),
            weights_size_bytes: Set(weights_size_bytes),
            card_digest: Set(model.card_digest.to_string()),
            card_json: Set(model.card_json.clone()),
            licence: Set(model.licence.clone()),
            created_at: Set(model.created_at),
            state: Set(verdict_text(model.verdict).to_owned()),
        };
        let inserted = model_row::Entity::insert(row).exec_without_returning(&self.db).await;
        unless_taken(inserted, "write model")
    }

    async fn list_models(
        &self,
        after: Option<&ModelId>,
        limit: u32,
    ) -> Result<Vec<StoredModel>, RegistryError> {
        let mut query = model_row::Entity::find()
            .order_by_asc(model_row::Column::ModelId)
            .limit(u64::from(limit));
        if let Some(after) = after {
            query = query.filter(model_row::Column::ModelId.gt(after.as_str()));
        }
        let rows = query.all(&self.db).await.map_err(failed("list models"))?;
        rows.into_iter().map(model).collect()
    }

    async fn set_verdict(&self, model_id: &ModelId, verdict: Verdict) -> Result<(), RegistryError> {
        model_row::Entity::update_many()
            .col_expr(model_row::Column::State, Expr::value(verdict_text(verdict)))
            .filter(model_row::Column::ModelId.eq(model_id.as_str()))
            .exec(&self.db)
            .await
            .map_err(failed("write state of model"))?;
        Ok(())
    }

    async fn last_promotion(&self) -> Result<Option<Promotion>, RegistryError> {
        let row = promotion_row::Entity::find()
            .order_by_desc(promotion_row::Column::Sequence)
            .one(&self.db)
            .await
            .map_err(failed("read last promotion"))?;
        row.map(promotion).transpose()
    }

    async fn find_promotion(&self, sequence: u64) -> Result<Option<Promotion>, RegistryError> {
        let sequence = i64::try_from(sequence).map_err(failed("encode promotion"))?;
        let row = promotion_row::Entity::find_by_id(sequence)
            .one(&self.db)
            .await
            .map_err(failed("read promotion"))?;
        row.map(promotion).transpose()
    }

    async fn insert_promotion(&self, promotion: &Promotion) -> Result<bool, RegistryError> {
        const ENCODE: &str = "encode promotion row";
        let kind = match promotion.kind {
            PromotionKind::Promote => "promote",
            PromotionKind::Rollback => "rollback",
        };
        let below = promotion.below.map(i64::try_from).transpose().map_err(failed(ENCODE))?;
        let row = promotion_row::ActiveModel {
            sequence: Set(i64::try_from(promotion.sequence).map_err(failed(ENCODE))?),
            kind: Set(kind.to_owned()),
            model_id: Set(promotion.model_id.as_ref().map(ToString::to_string)),
            below: Set(below),
            created_at: Set(promotion.created_at),
        };
        let inserted = promotion_row::Entity::insert(row).exec_without_returning(&self.db).await;
        unless_taken(inserted, "write promotion")
    }

    async fn list_promotions(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Promotion>, RegistryError> {
        let mut query = promotion_row::Entity::find()
            .order_by_desc(promotion_row::Column::Sequence)
            .limit(u64::from(limit));
        if let Some(before) = before {
            let before = i64::try_from(before).unwrap_or(i64::MAX);
            query = query.filter(promotion_row::Column::Sequence.lt(before));
        }
        let rows = query.all(&self.db).await.map_err(failed("list promotions"))?;
        rows.into_iter().map(promotion).collect()
    }
}

/// Returns true if a row was written, false if its key is taken.
fn unless_taken<T>(
    inserted: Result<T, sea_orm::DbErr>,
    operation: &'static str,
) -> Result<bool, RegistryError> {
    match inserted {
        Ok(_) => Ok(true),
        Err(error) => match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Ok(false),
            _ => Err(failed(operation)(error)),
        },
    }
}

fn verdict_text(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Imported => "imported",
        Verdict::Verified => "verified",
        Verdict::Refused => "refused",
    }
}

fn unknown(operation: &'static str, value: String) -> RegistryError {
    RegistryError::Store { operation, source: format!("unknown value `{value}`").into() }
}

fn model(row: model_row::Model) -> Result<StoredModel, RegistryError> {
    const DECODE: &str = "decode model row";
    let verdict = match row.state.as_str() {
        "imported" => Verdict::Imported,
        "verified" => Verdict::Verified,
        "refused" => Verdict::Refused,
        _ => return Err(unknown(DECODE, row.state)),
    };
    Ok(StoredModel {
        model_id: row.model_id.parse().map_err(failed(DECODE))?,
        weights: row.weights_sha256.parse().map_err(failed(DECODE))?,
        weights_size_bytes: u64::try_from(row.weights_size_bytes).map_err(failed(DECODE))?,
        card_digest: row.card_digest.parse().map_err(failed(DECODE))?,
        card_json: row.card_json,
        licence: row.licence,
        created_at: row.created_at,
        verdict,
    })
}

fn promotion(row: promotion_row::Model) -> Result<Promotion, RegistryError> {
    const DECODE: &str = "decode promotion row";
    let kind = match row.kind.as_str() {
        "promote" => PromotionKind::Promote,
        "rollback" => PromotionKind::Rollback,
        _ => return Err(unknown(DECODE, row.kind)),
    };
    let below = row.below.map(u64::try_from).transpose().map_err(failed(DECODE))?;
    Ok(Promotion {
        sequence: u64::try_from(row.sequence).map_err(failed(DECODE))?,
        kind,
        model_id: row.model_id.map(|id| id.parse()).transpose().map_err(failed(DECODE))?,
        below,
        created_at: row.created_at,
    })
}
