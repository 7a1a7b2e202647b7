-- Each service owns one database and sees no other.
CREATE DATABASE ingestion;
CREATE DATABASE segmentation;
CREATE DATABASE records;
CREATE DATABASE referral;
