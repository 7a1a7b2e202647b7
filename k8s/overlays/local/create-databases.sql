-- One database for each service.
CREATE DATABASE ingestion;
CREATE DATABASE segmentation;
CREATE DATABASE records;
CREATE DATABASE referral;
