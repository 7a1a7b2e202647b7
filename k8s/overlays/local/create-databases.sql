-- One database for each service, a role that owns it and a role of the service, which owns nothing: `neurotriage-migrate`
-- grants it what it needs. None is a superuser: row-level security, which keeps hospitals apart, binds every role but
-- those, and owners could turn it off.
CREATE ROLE ingestion_owner LOGIN PASSWORD 'development-only';
CREATE ROLE ingestion LOGIN PASSWORD 'development-only';
CREATE ROLE segmentation_owner LOGIN PASSWORD 'development-only';
CREATE ROLE segmentation LOGIN PASSWORD 'development-only';
CREATE ROLE records_owner LOGIN PASSWORD 'development-only';
CREATE ROLE records LOGIN PASSWORD 'development-only';
CREATE ROLE referral_owner LOGIN PASSWORD 'development-only';
CREATE ROLE referral LOGIN PASSWORD 'development-only';
CREATE DATABASE ingestion OWNER ingestion_owner;
CREATE DATABASE segmentation OWNER segmentation_owner;
CREATE DATABASE records OWNER records_owner;
CREATE DATABASE referral OWNER referral_owner;
