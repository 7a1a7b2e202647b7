-- One database for each service, and a role that owns it. None is a superuser: row-level security, which
-- keeps hospitals apart, binds every role but those.
CREATE ROLE ingestion LOGIN PASSWORD 'development-only';
CREATE ROLE segmentation LOGIN PASSWORD 'development-only';
CREATE ROLE records LOGIN PASSWORD 'development-only';
CREATE ROLE referral LOGIN PASSWORD 'development-only';
CREATE DATABASE ingestion OWNER ingestion;
CREATE DATABASE segmentation OWNER segmentation;
CREATE DATABASE records OWNER records;
CREATE DATABASE referral OWNER referral;
