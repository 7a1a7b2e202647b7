//! Training runs in a database: PostgreSQL or SQLite.

use std::error::Error;

use neurotriage_service_kit::database::is_away;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, SqlErr, sea_query::Expr,
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::training::{
    NewRun, TrainerError, TrainingRun, TrainingRunId, TrainingState, TrainingStore,
};

/// Table `training_run`.
pub mod training_run_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "training_run")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub training_run_id: Uuid,
        pub request_id: Uuid,
        pub content_hash: String,
        pub training_file: String,
        pub model_name: String,
        pub state: String,
        pub created_at: TimeDateTimeWithTimeZone,
        pub started_at: Option<TimeDateTimeWithTimeZone>,
        pub ended_at: Option<TimeDateTimeWithTimeZone>,
        pub progress: Option<Json>,
        pub error_reason: Option<String>,
        pub error_text: Option<String>,
        pub model_id: Option<String>,
        pub weights_sha256: Option<String>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

use training_run_row::{ActiveModel, Column, Entity, Model};

/// [`TrainingStore`] over a connection pool.
#[derive(Clone, Debug)]
pub struct SqlTrainingStore {
    db: DatabaseConnection,
}

impl SqlTrainingStore {
    /// Stores in `db`, which must be migrated.
    pub fn new(db: DatabaseConnection) -> Self {
        Self { db }
    }
}

fn failed<E: Error + Send + Sync + 'static>(operation: &'static str) -> impl Fn(E) -> TrainerError {
    move |error| {
        let source: Box<dyn Error + Send + Sync> = Box::new(error);
        if source.downcast_ref().is_some_and(is_away) {
            TrainerError::Unavailable { operation, source }
        } else {
            TrainerError::Store { operation, source }
        }
    }
}

impl TrainingStore for SqlTrainingStore {
    async fn find(&self, id: TrainingRunId) -> Result<Option<(TrainingRun, String)>, TrainerError> {
        let row = Entity::find_by_id(id.as_uuid())
            .one(&self.db)
            .await
            .map_err(failed("read training run"))?;
        let Some(row) = row else { return Ok(None) };
        let training_file = row.training_file.clone();
        Ok(Some((run(row)?, training_file)))
    }

    async fn find_by_request(
        &self,
        request_id: Uuid,
    ) -> Result<Option<(TrainingRun, String)>, TrainerError> {
        let row = Entity::find()
            .filter(Column::RequestId.eq(request_id))
            .one(&self.db)
            .await
            .map_err(failed("read training run by request"))?;
        let Some(row) = row else { return Ok(None) };
        let content_hash = row.content_hash.clone();
        Ok(Some((run(row)?, content_hash)))
    }

    async fn insert(&self, new: &NewRun) -> Result<bool, TrainerError> {
        let made = &new.run;
        let row = ActiveModel {
            training_run_id: Set(made.id.as_uuid()),
            request_id: Set(new.request_id),
            content_hash: Set(new.content_hash.clone()),
            training_file: Set(new.training_file.clone()),
            model_name: Set(made.model_name.clone()),
            state: Set(made.state.as_str().to_owned()),
            created_at: Set(made.created_at),
            started_at: Set(made.started_at),
            ended_at: Set(made.ended_at),
            progress: Set(None),
            error_reason: Set(None),
            error_text: Set(None),
            model_id: Set(None),
            weights_sha256: Set(None),
        };
        match Entity::insert(row).exec_without_returning(&self.db).await {
            Ok(_) => Ok(true),
            Err(error) => match error.sql_err() {
                Some(SqlErr::UniqueConstraintViolation(_)) => Ok(false),
                _ => Err(failed("write training run")(error)),
            },
        }
    }

    async fn update(&self, run: &TrainingRun, before: TrainingState) -> Result<bool, TrainerError> {
        let progress = run
            .progress
            .map(serde_json::to_value)
            .transpose()
            .map_err(failed("encode training run"))?;
        let (error_reason, error_text) = run.error.clone().unzip();
        let changes = ActiveModel {
            state: Set(run.state.as_str().to_owned()),
            started_at: Set(run.started_at),
            ended_at: Set(run.ended_at),
            progress: Set(progress),
            error_reason: Set(error_reason),
            error_text: Set(error_text),
            model_id: Set(run.model_id.as_ref().map(ToString::to_string)),
            weights_sha256: Set(run.weights_sha256.clone()),
            ..ActiveModel::default()
        };
        let updated = Entity::update_many()
            .set(changes)
            .filter(Column::TrainingRunId.eq(run.id.as_uuid()))
            .filter(Column::State.eq(before.as_str()))
            .exec(&self.db)
            .await
            .map_err(failed("write training run"))?;
        Ok(updated.rows_affected == 1)
    }

    async fn interrupt_all(&self, ended_at: OffsetDateTime) -> Result<u64, TrainerError> {
        let going = [TrainingState::Queued, TrainingState::Running].map(TrainingState::as_str);
        let updated = Entity::update_many()
            .col_expr(Column::State, Expr::value(TrainingState::Interrupted.as_str()))
            .col_expr(Column::EndedAt, Expr::value(ended_at))
            .filter(Column::State.is_in(going))
            .exec(&self.db)
            .await
            .map_err(failed("mark interrupted training runs"))?;
        Ok(updated.rows_affected)
    }

    async fn list(
        &self,
        before: Option<TrainingRunId>,
        limit: u32,
    ) -> Result<Vec<TrainingRun>, TrainerError> {
        let mut query = Entity::find().order_by_desc(Column::TrainingRunId).limit(u64::from(limit));
        if let Some(before) = before {
            query = query.filter(Column::TrainingRunId.lt(before.as_uuid()));
        }
        let rows = query.all(&self.db).await.map_err(failed("list training runs"))?;
        rows.into_iter().map(run).collect()
    }
}

fn run(row: Model) -> Result<TrainingRun, TrainerError> {
    const DECODE: &str = "decode training run";
    let state = TrainingState::ALL.into_iter().find(|state| state.as_str() == row.state);
    let state = state.ok_or_else(|| TrainerError::Store {
        operation: DECODE,
        source: format!("unknown state `{}`", row.state).into(),
    })?;
    Ok(TrainingRun {
        id: TrainingRunId::from(row.training_run_id),
        state,
        model_name: row.model_name,
        created_at: row.created_at,
        started_at: row.started_at,
        ended_at: row.ended_at,
        progress: row.progress.map(serde_json::from_value).transpose().map_err(failed(DECODE))?,
        error: row.error_reason.map(|reason| (reason, row.error_text.unwrap_or_default())),
        model_id: row.model_id.map(|id| id.parse()).transpose().map_err(failed(DECODE))?,
        weights_sha256: row.weights_sha256,
    })
}
